// Numbers and counts as people read them.

export const UNKNOWN = "–";

export function count(value: number, noun = "", plural = `${noun}s`): string {
  return value.toLocaleString("en-US") + (noun && ` ${value === 1 ? noun : plural}`);
}

export function number(value: number | null | undefined): string {
  if (value === null || value === undefined || Number.isNaN(value)) return UNKNOWN;
  const size = Math.abs(value);
  const sign = value < 0 ? "−" : "";
  if (Number.isInteger(value)) return sign + size.toLocaleString("en-US");
  if (size >= 100) return sign + size.toFixed(0);
  if (size >= 10) return sign + size.toFixed(1);
  if (size >= 0.1) return sign + size.toFixed(2);
  if (size >= 0.001) return sign + size.toFixed(3).replace(/0$/, "");
  return sign + size.toExponential(0).replace("-", "−");
}

/** The numbers of a column, with as many digits whether or not one of them happens to be whole. */
export function digits(values: Float64Array): (value: number) => string {
  const whole = values.every((value) => Number.isNaN(value) || Number.isInteger(value));
  return (value) => (!whole && value !== 0 && Number.isInteger(value) && Math.abs(value) < 100 ? number(value + 1e-9) : number(value));
}

/** A share of images that are right, of which a tenth of a percent counts. */
export function accuracy(share: number | null | undefined): string {
  return share === null || share === undefined ? UNKNOWN : `${(100 * share).toFixed(1)} %`;
}

export function percent(share: number | null | undefined): string {
  if (share === null || share === undefined) return UNKNOWN;
  const value = share * 100;
  const digits = Math.abs(value) >= 10 || value === 0 ? 0 : 1;
  return `${value < 0 ? "−" : ""}${Math.abs(value).toFixed(digits)} %`;
}

/** How many times more: "6.1", "24". */
export function times(value: number): string {
  return `× ${value >= 10 ? value.toFixed(0) : value.toFixed(1)}`;
}

export function signed(value: number): string {
  return (value > 0 ? "+" : "") + number(value);
}

/** A name on one line: what would break a line or steer the reader's eye is spelled out. */
export function oneLine(text: string): string {
  return text.replace(/[\u0000-\u001f\u007f-\u009f\u2028\u2029\u202a-\u202e\u2066-\u2069]/g, (letter) => {
    const known: Record<string, string> = { "\n": "\\n", "\r": "\\r", "\t": "\\t" };
    return known[letter] ?? `\\u${letter.charCodeAt(0).toString(16).padStart(4, "0")}`;
  });
}
