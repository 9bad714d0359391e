// Why something failed, in the reader's words. A stable code has a meaning in each language; its hint comes
// from the control plane, filled in, and in another language from here.
import meanings from './locale/reasons.en.json'
import french from './locale/reasons.fr.json'
import { fill } from './fill'
import { useText } from './text'
import { PUSH } from './words'

// [meaning, hint] of each code, where the reader's language has them.
const TRANSLATED = { fr: french }

export function useReasons() {
  const { language, moment, $gettext } = useText()
  return {
    explain: (error, hostname) =>
      explain(error, {
        words: words(error, { language, $gettext }),
        known: { hostname, when: when(error, moment), ...KNOWN[language()] },
        otherwise: $gettext('It could not be done.'),
      }),
  }
}

// Those of a host that the control plane has not confirmed are said here, not there.
const words = ({ reason }, { language, $gettext }) =>
  PUSH[reason]?.map((text) => $gettext(text)) ??
  TRANSLATED[language()]?.[reason]

const KNOWN = {
  fr: { addresses: 'les adresses de cet edge', ca: 'l’autorité' },
}

const when = ({ next_attempt_at: at }, moment) => (at ? moment(at) : undefined)

export function explain(error, { words, known, otherwise }) {
  const [meaning, hint] = words ?? []
  return {
    meaning: meaning ?? meanings[error.reason] ?? otherwise,
    hint: hint ? fill(hint, known) : error.hint,
  }
}
