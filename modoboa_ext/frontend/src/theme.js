// A theme while it is edited: five colours, three logos, what a blank one inherits, what saving would change.
import { contrast, isColour, PART, TEXT } from './contrast'

const WHITE = '#ffffff'

// `on` is what the colour is seen against in Modoboa's pages, `least` the contrast it needs there.
export const COLOURS = [
  {
    name: 'theme_primary_color',
    text: 'Primary',
    use: 'The menu, the login page, buttons',
    least: TEXT,
  },
  {
    name: 'theme_primary_color_light',
    text: 'Primary, light',
    use: 'Highlights',
    least: PART,
  },
  {
    name: 'theme_primary_color_dark',
    text: 'Primary, dark',
    use: 'Buttons under the pointer',
    least: TEXT,
  },
  {
    name: 'theme_secondary_color',
    text: 'Secondary',
    use: 'Accents',
    least: PART,
  },
  {
    name: 'theme_label_color',
    text: 'Labels',
    use: 'Names of the fields in forms',
    least: TEXT,
  },
]

export const LOGOS = [
  { type: 'login', text: 'Login page', ground: 'theme_primary_color' },
  { type: 'menu', text: 'Menu', ground: 'theme_primary_color' },
  { type: 'creation_form', text: 'Creation forms', ground: null },
]

export const logoField = (type) => `theme_${type}_logo_url`

export const LARGEST_LOGO = 1_000_000
const PICTURES = ['image/png', 'image/jpeg', 'image/webp', 'image/gif']

// Why a file cannot be a logo, as a sentence, or nothing; the API looks at the content itself.
export function logoFault({ type, size }) {
  if (!PICTURES.includes(type))
    return 'A logo is a PNG, JPEG, WebP or GIF picture.'
  if (size > LARGEST_LOGO) return 'A logo has at most 1 MB.'
}

// The contrast with white that a colour falls short of, or nothing.
export function shortfall({ least }, colour) {
  if (!isColour(colour)) return
  const found = contrast(colour, WHITE)
  return found < least ? { found, least } : undefined
}

export const colourFault = (value) =>
  !value || isColour(value) ? undefined : 'A colour is written as #rrggbb.'

// The control plane's own name of a colour: theme_primary_color_light is primary_light there.
const plain = (name) => name.replace(/^theme_/, '').replace('_color', '')

// Faults by our names of the colours, whoever found them.
export const refusals = (faults) =>
  Object.fromEntries(
    COLOURS.map(({ name }) => [
      name,
      faults[name] ?? faults[plain(name)],
    ]).filter(([, fault]) => fault)
  )

// What a visitor would see: the host's own values over the instance's.
export const effective = (inherited, own) =>
  Object.fromEntries(
    [
      ...COLOURS.map(({ name }) => name),
      ...LOGOS.map((l) => logoField(l.type)),
    ].map((name) => [name, own[name] || inherited[name] || ''])
  )
