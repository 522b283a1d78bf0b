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

/** Repetitions are bounded, so that no text makes a search slow. */
const PATTERNS: Record<MaskPattern, [pattern: RegExp, isMeant?: (found: string) => boolean]> = {
  email: [/[\w.%+-]{1,64}@(?:[a-z\d-]{1,63}\.){1,8}[a-z]{2,24}/gi],
  key: [
    /\b(?:(?:sk|pk|rk)[-_][\w-]{16,200}|AKIA[A-Z\d]{16}|gh[opsu]_[A-Za-z\d]{36,251}|xox[abprs]-[\w-]{10,250}|AIza[\w-]{35}|eyJ[\w-]{8,4000}\.[\w-]{8,8000}\.[\w-]{8,1000})/g,
  ],
  card: [/\b\d(?:[ -]?\d){12,18}\b/g, hasCardChecksum],
};

/**
 * A mask that hides e-mail addresses, keys and tokens of well-known forms, and card numbers (of 13 to 19 digits, by their
 * checksum), each as `[email]`, `[key]`, `[card]`.
 */
export function maskPatterns(...names: MaskPattern[]): Mask {
  return ({ data }) =>
    names.reduce((text, name) => {
      const [pattern, isMeant] = PATTERNS[name];
      return text.replace(pattern, (found) => (isMeant && !isMeant(found) ? found : `[${name}]`));
    }, data);
}

/** Luhn's, ISO/IEC 7812-1. */
function hasCardChecksum(number: string): boolean {
  const digits = number.replace(/\D/g, "");
  let sum = 0;
  for (let place = 0; place < digits.length; place++) {
    const digit = Number(digits[digits.length - 1 - place]) * (place % 2 === 1 ? 2 : 1);
    sum += digit > 9 ? digit - 9 : digit;
  }
  return sum % 10 === 0;
}
