/** SHA-256 (FIPS 180-4) without waiting, as `crypto.subtle` cannot. For ids: it is not fast, and no secret is safe in it. */

/** The digest of a text in UTF-8, as 64 hex digits. */
export function sha256(text: string): string {
  const [initial, rounds] = constants();
  const bytes = new TextEncoder().encode(text);
  // One bit, zeros, and the length in bits.
  const message = new DataView(new ArrayBuffer(((bytes.length + 8) & ~63) + 64));
  new Uint8Array(message.buffer).set(bytes);
  message.setUint8(bytes.length, 0x80);
  message.setBigUint64(message.byteLength - 8, BigInt(bytes.length) * 8n);

  const hash = initial.slice();
  const schedule = new Int32Array(64);
  for (let block = 0; block < message.byteLength; block += 64) {
    let [a, b, c, d, e, f, g, h] = hash as unknown as Eight;
    for (let round = 0; round < 64; round++) {
      const before = (steps: number) => schedule[round - steps]!;
      if (round < 16) {
        schedule[round] = message.getInt32(block + round * 4);
      } else {
        const [older, newer] = [before(15), before(2)];
        schedule[round] =
          before(16) +
          (rotated(older, 7) ^ rotated(older, 18) ^ (older >>> 3)) +
          before(7) +
          (rotated(newer, 17) ^ rotated(newer, 19) ^ (newer >>> 10));
      }
      const first =
        h + (rotated(e, 6) ^ rotated(e, 11) ^ rotated(e, 25)) + ((e & f) ^ (~e & g)) + rounds[round]! + before(0);
      const second = (rotated(a, 2) ^ rotated(a, 13) ^ rotated(a, 22)) + ((a & b) ^ (a & c) ^ (b & c));
      [a, b, c, d, e, f, g, h] = [(first + second) | 0, a, b, c, (d + first) | 0, e, f, g];
    }
    [a, b, c, d, e, f, g, h].forEach((word, index) => (hash[index]! += word));
  }
  return Array.from(hash, (word) => (word >>> 0).toString(16).padStart(8, "0")).join("");
}

type Eight = [number, number, number, number, number, number, number, number];

const rotated = (word: number, by: number): number => (word >>> by) | (word << (32 - by));

/** The first 32 bits of the fractions of the square roots of 8 primes, and of the cube roots of 64. */
function constants(): [Int32Array, Int32Array] {
  const primes: number[] = [];
  for (let number = 2; primes.length < 64; number++) {
    if (primes.every((prime) => number % prime)) {
      primes.push(number);
    }
  }
  const fractions = (power: number) => Int32Array.from(primes, (prime) => (prime ** power % 1) * 2 ** 32);
  return [fractions(1 / 2).slice(0, 8), fractions(1 / 3)];
}
