/** Masks: what hides parts of texts before they are recorded. */

/**
 * Takes a text, of a string as it is and of anything else as JSON, and gives what is recorded instead. It must be synchronous. When
 * it throws, or gives anything but a string, all of the text is hidden.
 */
export type Mask = (params: { data: string }) => string;

/** What is recorded when a mask fails. */
const HIDDEN = "<fully masked due to failed mask function>";

/** The masked text. It fails closed. */
export function maskedBy(mask: Mask | undefined, data: string): string {
  if (!mask) {
    return data;
  }
  try {
    const masked: unknown = mask({ data });
    return typeof masked === "string" ? masked : HIDDEN;
  } catch {
    return HIDDEN;
  }
}

/** What `maskPatterns` can find. */
export type MaskPattern = "email" | "key" | "card";

/**
 * Each takes time in proportion to the text, whatever it is: what an attempt has read in vain is not read by the next one,
 * or is of bounded length.
 */
const MASKS: Record<MaskPattern, (text: string) => string> = {
  email: (text) => text.replace(EMAIL, "[email]"),
  key: (text) => text.replace(PRIVATE_KEY, "[key]").replace(KEY, "[key]"),
  card: (text) => text.replace(DIGITS, withoutCards),
};

/*
 * What is searched may be JSON, where a line end is written as `\n`: that letter belongs to no name or key, and stays. So each
 * pattern may begin behind an escape as well, and never with the letter of one.
 */

/** Begins where the name does. */
const EMAIL =
  /(?:(?<![\p{L}\p{N}_.%+\\-])|(?<=\\(?:["\\/bfnrt]|u[\da-f]{4}))|(?<=\\)(?!["\\/bfnrt]|u[\da-f]{4}))[\p{L}\p{N}_.%+-]+@(?:[\p{L}\p{N}-]{1,63}\.){1,8}[\p{L}\p{N}-]{2,63}/gu;

/** Of OpenAI, Anthropic, Langfuse, Stripe and others; AWS, GitHub, GitLab, Slack, Google, Hugging Face, npm; JSON Web Tokens. */
const KEY =
  /(?:\b|(?<=\\(?:[bfnrt]|u[\da-f]{4})))(?:(?:sk|pk|rk|gsk|xai|whsec)[-_][\w-]{16,}|(?:AKIA|ASIA)[A-Z\d]{16}|gh[oprsu]_[A-Za-z\d]{36,}|github_pat_\w{22,}|glpat-[\w-]{20,}|xox[a-z]-[\w-]{10,}|AIza[\w-]{35}|hf_[A-Za-z\d]{30,}|npm_[A-Za-z\d]{36}|eyJ[\w-]{16,}(?:\.[\w-]+){0,4})/g;

/** With line ends as they are, or as in JSON. */
const PRIVATE_KEY =
  /-----BEGIN [A-Z ]{0,30}PRIVATE KEY-----(?:[A-Za-z\d+/=:,\s-]|\\[nr])*/g;

/** 13 digits or more, in groups or not. Not those of a decimal fraction. */
const DIGITS = /(?:(?<!\w|\d\.|\d[ -])|(?<=\\(?:[bfnrt]|u[\da-f]{4})))\d(?:[ -]?\d){12,}(?!\w)/g;

/**
 * A mask that hides e-mail addresses, keys and tokens of well-known forms, and card numbers (of 13 to 19 digits, by their
 * first digit and their checksum), each as `[email]`, `[key]`, `[card]`. It takes time in proportion to the text.
 *
 * @param names What to hide. Default: all of it.
 * @throws Error that names the pattern, when there is no such one.
 */
export function maskPatterns(...names: MaskPattern[]): Mask {
  const known = Object.keys(MASKS) as MaskPattern[];
  const unknown = names.find((name) => !known.includes(name));
  if (unknown !== undefined) {
    throw new Error(`langfuse-edge: maskPatterns: ${String(unknown)} is none of ${known.join(", ")}`);
  }
  const wanted = names.length > 0 ? names : known;
  return ({ data }) => wanted.reduce((text, name) => MASKS[name](text), data);
}

const SHORTEST_CARD = 13;
const LONGEST_CARD = 19;

/** Digits in groups, with each card number among them hidden: one may have others before and behind it. */
function withoutCards(text: string): string {
  if (text.length > LONGEST_CARD && !/\D/.test(text)) {
    return text; // One group, too long.
  }
  let count = 0;
  const places = new Int32Array(text.length);
  /** Sums of the digits before, as Luhn's (ISO/IEC 7812-1) has them: every other one twice, beginning with the first or the second. */
  const sums = [new Int32Array(text.length + 1), new Int32Array(text.length + 1)] as const;
  for (let place = 0; place < text.length; place++) {
    const digit = text.charCodeAt(place) - 48;
    if (digit >= 0) {
      const twice = digit > 4 ? digit * 2 - 9 : digit * 2;
      const isSecond = count % 2;
      places[count] = place;
      sums[0][count + 1] = sums[0][count]! + (isSecond ? digit : twice);
      sums[1][count + 1] = sums[1][count]! + (isSecond ? twice : digit);
      count++;
    }
  }
  const isBetweenGroups = (digit: number) => digit === 0 || digit === count || places[digit]! - places[digit - 1]! > 1;
  // The last digit counts once.
  const isCard = (first: number, end: number) => (sums[end % 2 ? 1 : 0][end]! - sums[end % 2 ? 1 : 0][first]!) % 10 === 0;
  let masked = "";
  let copied = 0;
  for (let first = 0; first + SHORTEST_CARD <= count; first++) {
    // Those of payment cards begin with 2 to 6; times since 1970 with 1.
    if (!isBetweenGroups(first) || !"23456".includes(text.charAt(places[first]!))) continue;
    for (let end = Math.min(first + LONGEST_CARD, count); end >= first + SHORTEST_CARD; end--) {
      if (isBetweenGroups(end) && isCard(first, end)) {
        masked += `${text.slice(copied, places[first])}[card]`;
        copied = places[end - 1]! + 1;
        first = end - 1;
        break;
      }
    }
  }
  return masked + text.slice(copied);
}
