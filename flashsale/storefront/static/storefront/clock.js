// The server's time, whatever the clock of this device says.

const BACKWARDS_MS = 5_000;
let offset = null; // server's time less performance.now()

// A slow or cached answer makes the server's time look earlier than it is, never later: the latest reading is the best.
// One that is far behind means that the server's clock itself was set back.
export function heard(serverTime) {
  const sample = Date.parse(serverTime) - performance.now();
  if (Number.isNaN(sample)) return;
  if (offset === null || sample > offset || offset - sample > BACKWARDS_MS) offset = sample;
}

export const now = () => (offset === null ? Date.now() : offset + performance.now());
export const secondsUntil = (moment) => Math.max(0, Math.ceil((Date.parse(moment) - now()) / 1000));
