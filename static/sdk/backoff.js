// Full jitter: a random delay below a ceiling that doubles, so that clients which lost the
// same node do not come back together.

export function jitter(attempt, baseMs, capMs) {
  const ceiling = Math.min(capMs, baseMs * 2 ** Math.min(attempt, 30));
  return Math.round(Math.random() * ceiling);
}
