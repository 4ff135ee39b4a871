// The server's time, independent of the device's clock.

const BACKWARDS_MS = 5_000;
let offset = null; // server time minus performance.now()

// A slow or cached answer makes the server's time seem earlier, never later. So the latest reading is the best.
// A reading that is far behind means that the server's clock was set back.
export function heard(serverTime) {
  const sample = Date.parse(serverTime) - performance.now();
  if (Number.isNaN(sample)) return;
  if (offset === null || sample > offset || offset - sample > BACKWARDS_MS) offset = sample;
}

export const now = () => (offset === null ? Date.now() : offset + performance.now());
export const secondsUntil = (moment) => Math.max(0, Math.ceil((Date.parse(moment) - now()) / 1000));
