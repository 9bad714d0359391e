// @vitest-environment happy-dom
import { describe, expect, it } from 'vitest'
import CertificateChain from '../src/CertificateChain.vue'
import { mounted } from './mounted'

const chain = [
  {
    subject: 'mail.acme.test',
    issuer: 'Pebble Intermediate',
    not_after: '2027-01-30T12:00:00+00:00',
    sha256: 'ab'.repeat(32),
  },
  {
    subject: 'Pebble Intermediate',
    issuer: 'Pebble Root',
    not_after: '2030-03-01T12:00:00+00:00',
    sha256: 'cd'.repeat(32),
  },
]
const lines = (page) =>
  [...page.querySelectorAll('li')].map(({ children }) =>
    [...children].map((child) => child.textContent.trim())
  )

describe('the chain of a certificate', () => {
  it('names each link and who signed it, the hostname’s own first', async () => {
    expect(lines(await mounted(CertificateChain, { chain }))).toEqual([
      [
        'mail.acme.test',
        'signed by Pebble Intermediate, valid until Jan 30, 2027',
        `SHA-256 ${'ab'.repeat(32)}`,
      ],
      [
        'Pebble Intermediate',
        'signed by Pebble Root, valid until Mar 1, 2030',
        `SHA-256 ${'cd'.repeat(32)}`,
      ],
    ])
  })

  it('is told in French', async () => {
    const [first] = lines(await mounted(CertificateChain, { chain }, 'fr'))
    expect(first[1]).toBe(
      'signé par Pebble Intermediate, valable jusqu’au 30 janv. 2027'
    )
  })
})
