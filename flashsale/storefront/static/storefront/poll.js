// Polls repeatedly, but not in a hidden tab.

// `look` returns the seconds until the next poll, or null to stop. `again()` polls at once, and resumes if polling had stopped.
export function follow(look) {
  let timer = null;
  let isLooking = false;
  let isWanted = true;
  let isAskedAgain = false;

  async function tick() {
    clearTimeout(timer);
    if (isLooking || !isWanted || document.hidden) return;
    isLooking = true;
    let seconds = 5;
    try {
      seconds = await look();
    } finally {
      isLooking = false;
      isWanted = seconds !== null || isAskedAgain;
      if (isWanted) timer = setTimeout(tick, isAskedAgain ? 0 : seconds * 1000);
      isAskedAgain = false;
    }
  }

  function again() {
    isWanted = true;
    isAskedAgain = isLooking;
    tick();
  }

  document.addEventListener("visibilitychange", tick);
  addEventListener("online", tick);
  tick();
  return { again };
}

// Waits this many seconds, or until the device is online or the page is visible again.
export function rest(seconds) {
  const woken = new AbortController();
  return new Promise((done) => {
    const end = () => {
      clearTimeout(timer);
      woken.abort();
      done();
    };
    const timer = setTimeout(end, seconds * 1000);
    addEventListener("online", end, { signal: woken.signal });
    document.addEventListener("visibilitychange", () => document.hidden || end(), { signal: woken.signal });
  });
}

export const jittered = (seconds) => seconds * (0.8 + Math.random() * 0.4);
