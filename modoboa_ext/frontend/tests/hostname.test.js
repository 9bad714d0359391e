import { readFileSync } from 'node:fs'
import { describe, expect, it } from 'vitest'
import { explain, fault, hostnameRule } from '../src/hostname'
import { fill } from '../src/fill'

const { hostnames } = JSON.parse(
  readFileSync(
    new URL('../../../tests/data/hostnames.json', import.meta.url),
    'utf8'
  )
)
const say = (text) => {
  const verdict = fault(text)
  return verdict && explain(verdict, fill)
}

// A browser's IDNA is the wider UTS 46: it may let a name pass that the API refuses, never the reverse.
const LEFT_TO_THE_API = /invalid internationalized label/

describe('a hostname while it is typed', () => {
  it.each(hostnames.map(({ input, error }) => [input, error]))(
    '%j gets the verdict of the API',
    (input, error) => {
      const said = say(input)
      if (LEFT_TO_THE_API.test(error) && said === null) return
      expect(said).toBe(error)
    }
  )

  it('leaves only a handful of names to the API', () => {
    const left = hostnames.filter(
      ({ input, error }) => error !== null && say(input) === null
    )
    expect(hostnames.length).toBeGreaterThan(50)
    expect(left.length).toBeLessThan(hostnames.length / 10)
  })

  it('is not the installation’s own, in the words of the API', () => {
    const primary = 'mail.provider.test'
    expect(hostnameRule(fill, primary)(primary)).toBe(
      'hostname is reserved: mail.provider.test is the primary hostname, choose another'
    )
    expect(hostnameRule(fill, primary)('mail.acme.test')).toBe(true)
  })

  it('may be blank: a domain needs no virtual host', () => {
    expect(hostnameRule(fill)('')).toBe(true)
    expect(hostnameRule(fill)(null)).toBe(true)
  })
})
