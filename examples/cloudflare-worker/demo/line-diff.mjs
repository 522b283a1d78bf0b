/** The lines of a tree text that stand for one observation each: all but the headings of the traces. */
export function observationLines(text) {
  return text.split("\n").filter((line) => line !== "" && !line.startsWith("trace  "));
}

/**
 * A line diff by longest common subsequence: "-" expected only, "+" received only, and up to `context` equal
 * lines around each difference.
 */
export function lineDiff(expected, received, context = 2) {
  const [a, b] = [expected.split("\n"), received.split("\n")];
  const common = Array.from({ length: a.length + 1 }, () => new Uint32Array(b.length + 1));
  for (let i = a.length - 1; i >= 0; i--) {
    for (let j = b.length - 1; j >= 0; j--) {
      common[i][j] = a[i] === b[j] ? common[i + 1][j + 1] + 1 : Math.max(common[i + 1][j], common[i][j + 1]);
    }
  }
  const lines = [];
  for (let i = 0, j = 0; i < a.length || j < b.length; ) {
    if (i < a.length && j < b.length && a[i] === b[j]) {
      lines.push(["  ", a[i]]);
      i++;
      j++;
    } else if (j >= b.length || (i < a.length && common[i + 1][j] >= common[i][j + 1])) {
      lines.push(["- ", a[i++]]);
    } else {
      lines.push(["+ ", b[j++]]);
    }
  }
  const near = (index) => lines.slice(Math.max(0, index - context), index + context + 1).some(([mark]) => mark !== "  ");
  const shown = [];
  for (const [index, [mark, text]] of lines.entries()) {
    if (near(index)) shown.push(mark + text);
    else if (shown.length > 0 && shown.at(-1) !== "  ...") shown.push("  ...");
  }
  return shown.join("\n");
}
