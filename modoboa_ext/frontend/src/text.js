// Words of this extension in the language the host shows; the host's catalog knows only its own strings.
import { useGettext } from 'vue3-gettext'
import { fill } from './fill'
import fr from './locale/fr.json'
import { faults, said, sentence } from './sayings'

export const catalogs = { fr }

const PLURALS = { fr: (n) => (n > 1 ? 1 : 0) }
const english = (n) => (n === 1 ? 0 : 1)

// language() names the language of now, inherited(text) is the host's own translation.
export function translator(language, inherited = (text) => text) {
  const entry = (text) => catalogs[language()]?.[text]
  return {
    language,
    $gettext: (text, values) => fill(entry(text) ?? inherited(text), values),
    $ngettext(one, many, n, values = {}) {
      const translated = entry(one)
      const forms = translated ?? [one, many]
      const index = (translated && PLURALS[language()]) || english
      return fill(forms[index(n)], { n, ...values })
    },
    said: (text) => said(text, language()),
    sentence: (error, otherwise) => sentence(error, otherwise, language()),
    faults: (error) => faults(error, language()),
    date: (value, options = { dateStyle: 'medium' }) =>
      new Intl.DateTimeFormat(tag(language()), options).format(new Date(value)),
    moment: (value) =>
      new Intl.DateTimeFormat(tag(language()), {
        dateStyle: 'medium',
        timeStyle: 'short',
      }).format(new Date(value)),
    relative: (value, now = Date.now()) =>
      relative(tag(language()), new Date(value) - now),
  }
}

const tag = (language) => language.replace('_', '-')

const UNITS = [
  ['day', 86_400_000],
  ['hour', 3_600_000],
  ['minute', 60_000],
  ['second', 1_000],
]

function relative(locale, milliseconds) {
  const [unit, size] =
    UNITS.find(([, length]) => Math.abs(milliseconds) >= length) ?? UNITS.at(-1)
  const format = new Intl.RelativeTimeFormat(locale, { numeric: 'auto' })
  return format.format(Math.round(milliseconds / size), unit)
}

export function useText() {
  const host = useGettext()
  return translator(
    () => host.current,
    (text) => host.$gettext(text)
  )
}
