// Sentences of the API in the reader's words: the API says them in English, with the names of its fields.
import sayings from './locale/sayings.json'
import { fill } from './fill'

const LANGUAGES = { en: 0, fr: 1 }
const BLANK = /%\\\{ (\w+) \\\}/g

const escaped = (text) => text.replace(/[.*+?^${}()|[\]\\]/g, '\\$&')

// Blanks stand for anything; the first of two equal ones decides.
const KNOWN = Object.entries(sayings).map(([template, words]) => ({
  pattern: new RegExp(
    `^${escaped(template).replace(BLANK, '(?<$1>.+?)')}$`,
    's'
  ),
  words,
}))

export function said(text, language) {
  for (const { pattern, words } of KNOWN) {
    const found = text.match(pattern)
    if (found) return fill(words[LANGUAGES[language] ?? 0], found.groups)
  }
  return text
}

// The sentence inside an answer of Modoboa (DRF, its own errors) or of the network.
export function sentence(error, otherwise, language) {
  const data = error.response?.data
  if (!data || typeof data === 'string') return otherwise
  const first = data.detail ?? data.message ?? data.error ?? firstField(data)
  return first ? said(String(first), language) : otherwise
}

function firstField(data) {
  const [value] = Object.values(data)
  return Array.isArray(value) ? value[0] : value
}

// Faults by field as they stand in the answer: DRF's own, or those that the control plane found.
export function faults(error, language) {
  const { errors, ...fields } = error.response?.data ?? {}
  return Object.fromEntries(
    Object.entries(errors ?? fields)
      .filter(([, value]) => Array.isArray(value))
      .map(([name, [first]]) => [name, said(String(first), language)])
  )
}
