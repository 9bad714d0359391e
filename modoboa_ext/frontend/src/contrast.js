// Contrast of two colours and what WCAG 2.2 AA asks for (§1.4.3 text, §1.4.11 parts of the interface).
export const TEXT = 4.5
export const PART = 3

export const isColour = (text) => /^#[0-9a-f]{6}$/i.test(text ?? '')

const channels = (colour) =>
  [1, 3, 5].map((at) => parseInt(colour.slice(at, at + 2), 16) / 255)

const linear = (c) => (c <= 0.04045 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4)

// Relative luminance, 0 (black) to 1 (white).
export function luminance(colour) {
  const [red, green, blue] = channels(colour).map(linear)
  return 0.2126 * red + 0.7152 * green + 0.0722 * blue
}

// 1 (none) to 21 (black on white).
export function contrast(one, other) {
  const [light, dark] = [luminance(one), luminance(other)].sort((a, b) => b - a)
  return (light + 0.05) / (dark + 0.05)
}
