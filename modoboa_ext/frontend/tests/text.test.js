import { describe, expect, it } from 'vitest'
import { explain } from '../src/reasons'
import { fill } from '../src/fill'
import { translator } from '../src/text'

const en = translator(() => 'en')
const fr = translator(
  () => 'fr',
  (text) => (text === 'Inbox' ? 'Boîte de réception' : text)
)

describe('words', () => {
  it('follow the language of the host, also when it changes', () => {
    let language = 'en'
    const { $gettext } = translator(() => language)
    expect($gettext('Virtual hosts')).toBe('Virtual hosts')
    language = 'fr'
    expect($gettext('Virtual hosts')).toBe('Hôtes virtuels')
  })

  it('fall back on the host’s catalog, then on English', () => {
    expect(fr.$gettext('Inbox')).toBe('Boîte de réception')
    expect(fr.$gettext('Said nowhere')).toBe('Said nowhere')
  })

  it('keep a blank that has no value, and never read a value as a blank', () => {
    expect(fill('%{ a } and %{b}', { a: '%{b}' })).toBe('%{b} and %{b}')
  })

  it('count as each language does', () => {
    const days = (text, n) =>
      text.$ngettext('%{ n } day left', '%{ n } days left', n)
    expect([0, 1, 2].map((n) => days(en, n))).toEqual([
      '0 days left',
      '1 day left',
      '2 days left',
    ])
    expect([0, 1, 2].map((n) => days(fr, n))).toEqual([
      'encore 0 jour',
      'encore 1 jour',
      'encore 2 jours',
    ])
  })

  it('tell how long ago', () => {
    const now = Date.parse('2026-11-20T12:00:00Z')
    expect(en.relative('2026-11-20T11:00:00Z', now)).toBe('1 hour ago')
    expect(fr.relative('2026-11-20T12:05:00Z', now)).toBe('dans 5 minutes')
  })
})

describe('a failure in words', () => {
  const error = { reason: 'dns_nxdomain', hint: 'Create the DNS record.' }

  it('has the meaning of its code and the hint of the control plane', () => {
    const said = explain(error, { otherwise: 'It could not be done.' })
    expect(said).toEqual({
      meaning: 'The hostname does not exist in public DNS.',
      hint: 'Create the DNS record.',
    })
  })

  it('in another language both come from here', () => {
    const words = ['Inconnu.', 'Créez %{ hostname }.']
    const known = { hostname: 'mail.acme.test' }
    expect(explain(error, { words, known }).hint).toBe('Créez mail.acme.test.')
  })

  it('a code that nobody knows is still a sentence', () => {
    const otherwise = 'It could not be done.'
    expect(explain({ reason: 'new_one' }, { otherwise }).meaning).toBe(
      otherwise
    )
  })
})
