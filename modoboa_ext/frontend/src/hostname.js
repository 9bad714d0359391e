// The one spelling of a hostname, judged while somebody types: the verdicts and sentences of the API.
// What a browser cannot know is left to the API: the finer rules of IDNA 2008.
const LONGEST = 253
const LONGEST_LABEL = 63
const SCHEME = /^[a-z][a-z0-9+.-]*:\/\//i
// Python's isspace(): the byte order mark is no space there, the separators U+001C to U+001F and U+0085 are.
const SPACE = /[^\S\ufeff]|[\x1c-\x1f\x85]/
const ALWAYS_RESERVED = ['localhost']
const RESERVED = 'hostname is reserved: %{ name }'
const PRIMARY =
  'hostname is reserved: %{ name } is the primary hostname, choose another'

// In this order, and the first fault is the one named. Each gives [sentence, values, text to mend].
const CHECKS = [
  (text) => !text && ['hostname must not be empty'],
  (text) => SPACE.test(text) && ['hostname must not contain spaces', {}, text],
  (text) =>
    (SCHEME.test(text) || text.includes('/')) && [
      'hostname must be a name alone, without scheme or path',
      {},
      text,
    ],
  (text) =>
    text.includes('*') && [
      'hostname must not be a wildcard: add each hostname by itself',
    ],
  (text) =>
    isAddress(text) && [
      'hostname must not be an IP address: use a name that points to it',
    ],
  (text) =>
    /^[^:[\]]+:[0-9]*$/.test(text) && [
      'hostname must not carry a port',
      {},
      text,
    ],
  (text) =>
    /[^.]\.+$/.test(text) && ['hostname must not end with a dot', {}, text],
  (text) =>
    /[^\0-\x7f]/.test(text) && [
      'hostname must be ASCII, internationalized names as their A-label',
      {},
      text,
    ],
  (text) =>
    text !== text.toLowerCase() && ['hostname must be lowercase', {}, text],
  (text) =>
    text.length > LONGEST && [
      'hostname must have at most %{ most } characters, this one has %{ n }',
      { most: LONGEST, n: text.length },
    ],
  (text) =>
    text.includes('_') && [
      'hostname must not contain an underscore: use a hyphen instead',
    ],
  badCharacter,
  (text) => ALWAYS_RESERVED.includes(text) && [RESERVED, { name: text }],
  (text) =>
    !text.includes('.') && [
      'hostname must have at least two labels: %{ name }',
      { name: text },
    ],
  badLabel,
  (text) => {
    const last = text.split('.').at(-1)
    return (
      /^[0-9]+$/.test(last) && [
        'hostname must not end with a label of digits only: %{ label }',
        { label: last },
      ]
    )
  },
]

function isAddress(text) {
  const bare = (text.match(/^\[([^\]]*)\]/)?.[1] ?? text).split('%')[0]
  const dotless = bare.replace(/\.$/, '')
  return [dotless, dotless.replace(/:[0-9]*$/, '')].some(
    (candidate) => isIPv4(candidate) || isIPv6(candidate)
  )
}

const isIPv4 = (text) =>
  /^(\d{1,3}\.){3}\d{1,3}$/.test(text) &&
  text.split('.').every((part) => part < 256 && String(+part) === part)

const isIPv6 = (text) => text.includes(':') && URL.canParse(`http://[${text}]`)

function badCharacter(text) {
  const [character] = text.match(/[^a-z0-9.-]/u) ?? []
  return (
    character && [
      'hostname may contain only letters, digits and hyphens, not %{ character }',
      { character: quoted(character) },
    ]
  )
}

// As Python's repr() spells it, since the API does.
function quoted(character) {
  if (character === "'") return `"'"`
  if (character === '\\') return "'\\\\'"
  const code = character.codePointAt(0)
  return code < 0x20 || code === 0x7f
    ? `'\\x${code.toString(16).padStart(2, '0')}'`
    : `'${character}'`
}

function badLabel(text) {
  for (const label of text.split('.')) {
    const verdict = labelFault(label)
    if (verdict) return verdict
  }
}

function labelFault(label) {
  if (!label)
    return ['hostname must not contain an empty label: remove the extra dot']
  if (label.length > LONGEST_LABEL)
    return [
      'hostname has a label of %{ n } characters, at most %{ most } are allowed',
      { n: label.length, most: LONGEST_LABEL },
    ]
  if (label.startsWith('-') || label.endsWith('-'))
    return [
      'hostname has a label that starts or ends with a hyphen: %{ label }',
      { label },
    ]
  return label.slice(2, 4) === '--' && hyphenFault(label)
}

// RFC 5891 §4.2.3.1: only A-labels have hyphens there.
function hyphenFault(label) {
  if (!label.startsWith('xn--'))
    return [
      'hostname has a label with hyphens in third and fourth place: %{ label }',
      { label },
    ]
  return (
    !URL.canParse(`http://${label}.example`) && [
      'hostname has an invalid internationalized label: %{ label }',
      { label },
    ]
  )
}

// The canonical hostname that the text most likely means, or nothing.
function nearest(text) {
  const name = text
    .trim()
    .replace(SCHEME, '')
    .split('/')[0]
    .replace(/:[0-9]*$/, '')
    .replace(/\.$/, '')
  const ascii = /[^\0-\x7f]/.test(name) ? aLabels(name) : name.toLowerCase()
  return ascii !== text && !fault(ascii) ? ascii : undefined
}

// The browser's own IDNA: büro.example becomes xn--bro-hoa.example. IDNA 2008 has no symbols.
const aLabels = (name) =>
  /^[\p{L}\p{M}\p{N}\p{Cf}.。-]+$/u.test(name) && URL.canParse(`http://${name}`)
    ? new URL(`http://${name}`).hostname
    : ''

// {sentence, values, fix} of the first fault, or null when the text is a canonical hostname.
// `primary` is this installation's own hostname, where it is known; `reserved` are others that nobody may take.
export function fault(text, primary, reserved = []) {
  if (primary && text === primary)
    return { sentence: PRIMARY, values: { name: text } }
  for (const check of CHECKS) {
    const [sentence, values, mendable] = check(text) || []
    if (sentence)
      return { sentence, values, fix: mendable && nearest(mendable) }
  }
  if (reserved.includes(text))
    return { sentence: RESERVED, values: { name: text } }
  return null
}

export function explain(verdict, $gettext) {
  const sentence = $gettext(verdict.sentence, verdict.values)
  return verdict.fix ? `${sentence}: ${verdict.fix}` : sentence
}

// Whether a hostname stands where a zone's own records do: a mail domain itself, or a name of two labels.
export const isTop = (hostname, domain = '') =>
  domain === hostname ||
  domain.endsWith(`.${hostname}`) ||
  hostname.split('.').length === 2

// A rule for Vuetify's fields: blank means "no virtual host", which is fine.
export const hostnameRule = ($gettext, primary, reserved) => (text) => {
  const verdict = text ? fault(text, primary, reserved) : null
  return verdict ? explain(verdict, $gettext) : true
}
