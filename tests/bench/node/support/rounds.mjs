// Repeated measurements.
export function median(values) {
  const sorted = values.toSorted((a, b) => a - b);
  const middle = sorted.length >> 1;
  return sorted.length % 2 ? sorted[middle] : (sorted[middle - 1] + sorted[middle]) / 2;
}

/**
 * Measures each candidate in each round, in another order every time, so that none is always behind the same one and all meet
 * the same weather. The medians of their numbers, by candidate.
 */
export async function alternate(rounds, candidates, measure) {
  const runs = new Map(candidates.map((candidate) => [candidate, []]));
  for (let round = 0; round < rounds; round++) {
    for (let turn = 0; turn < candidates.length; turn++) {
      const candidate = candidates[(turn + round) % candidates.length];
      runs.get(candidate).push(await measure(candidate));
    }
  }
  return new Map([...runs].map(([candidate, measured]) => [candidate, mediansOf(measured)]));
}

const mediansOf = (measured) =>
  Object.fromEntries(Object.keys(measured[0]).map((name) => [name, median(measured.map((run) => run[name]))]));
