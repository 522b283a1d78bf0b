// What programs of several kinds use.

export const at = (seconds) => new Date(Date.UTC(2026, 0, 2, 3, 4, seconds, 678));
export const later = async (value) => value;
