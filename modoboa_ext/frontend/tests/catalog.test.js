import { readdirSync, readFileSync } from 'node:fs'
import { describe, expect, it } from 'vitest'
import { WARNINGS } from '../src/authorities'
import { fault } from '../src/hostname'
import english from '../src/locale/reasons.en.json'
import french from '../src/locale/reasons.fr.json'
import { catalogs } from '../src/text'
import { colourFault, COLOURS, logoFault, LOGOS } from '../src/theme'
import * as words from '../src/words'

const sources = new URL('../src/', import.meta.url)
const vectors = JSON.parse(
  readFileSync(new URL('../../../tests/data/hostnames.json', import.meta.url))
)
const read = (name) => readFileSync(new URL(name, sources), 'utf8')

const LITERAL = `'((?:[^'\\\\]|\\\\.)*)'`
const SINGULAR = new RegExp(`\\$gettext\\(\\s*${LITERAL}`, 'g')
const PLURAL = new RegExp(`\\$ngettext\\(\\s*${LITERAL},\\s*${LITERAL}`, 'g')

const literals = (pattern) =>
  readdirSync(sources)
    .filter((name) => /\.(vue|js)$/.test(name))
    .flatMap((name) => [...read(name).matchAll(pattern)].map(([, one]) => one))

const texts = (value) =>
  typeof value === 'string' ? [value] : Object.values(value).flatMap(texts)

const named = (entries) =>
  Object.values(entries).flatMap(({ text, use }) => [text, use].filter(Boolean))

const {
  FILTERS,
  PUSH,
  STEPS,
  ACTORS,
  CHECKS,
  AUTHORITY_CHECKS,
  DONE,
  SOURCES,
  EVENTS,
} = words
const singular = new Set([
  ...literals(SINGULAR),
  ...[
    PUSH,
    STEPS,
    ACTORS,
    CHECKS,
    AUTHORITY_CHECKS,
    DONE,
    SOURCES,
    EVENTS,
    WARNINGS,
  ].flatMap(texts),
  ...[words.STATUS, words.VERDICTS, FILTERS, COLOURS, LOGOS].flatMap(named),
  colourFault('red'),
  logoFault({ type: 'text/plain' }),
  logoFault({ type: 'image/png', size: 1e9 }),
  fault('mail.provider.test', 'mail.provider.test').sentence,
  ...vectors.hostnames
    .map(({ input }) => fault(input)?.sentence)
    .filter(Boolean),
])
const plural = new Set(literals(PLURAL))

const blanks = (text) => (text.match(/%\{\s*\w+\s*\}/g) ?? []).sort()

describe.each(Object.entries(catalogs))('the catalog %s', (_, catalog) => {
  it.each([...singular])('has words for “%s”', (text) => {
    expect(catalog[text]).toBeTypeOf('string')
    expect(blanks(catalog[text])).toEqual(blanks(text))
  })

  it.each([...plural])('has both numbers of “%s”', (text) => {
    expect(catalog[text]).toHaveLength(2)
  })

  it('has nothing that nobody says', () => {
    const said = new Set([...singular, ...plural])
    expect(Object.keys(catalog).filter((text) => !said.has(text))).toEqual([])
  })
})

it('knows every reason in each language', () => {
  expect(Object.keys(french).sort()).toEqual(Object.keys(english).sort())
})
