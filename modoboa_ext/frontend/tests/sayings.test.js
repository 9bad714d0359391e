import { describe, expect, it } from 'vitest'
import { faults, said, sentence } from '../src/sayings'

const answer = (status, data) =>
  Object.assign(new Error(status), { response: { status, data } })

describe('the sentence of an error', () => {
  it.each([
    [{ detail: 'Not found.' }, 'Not found.'],
    [{ error: 'busy' }, 'busy'],
    [{ virtual_host: ['hostname is reserved'] }, 'hostname is reserved'],
    ['<html>', 'otherwise'],
    [undefined, 'otherwise'],
  ])('of %j', (data, words) => {
    expect(sentence(answer(400, data), 'otherwise', 'en')).toBe(words)
  })

  it('is ours when nobody answered', () => {
    expect(sentence(new Error('Network'), 'otherwise', 'en')).toBe('otherwise')
  })

  it('is told in the reader’s words, without the names of fields', () => {
    const stranger =
      'private_key does not belong to the first certificate of the chain'
    const error = answer(422, { detail: stranger })
    expect(sentence(error, '', 'en')).toBe(
      'The private key does not belong to the first certificate of the chain.'
    )
    expect(sentence(error, '', 'fr')).toBe(
      'La clé privée ne va pas avec le premier certificat de la chaîne.'
    )
  })

  it('keeps what it names', () => {
    const text = 'the certificate is for a.test, b.test, not for mail.acme.test'
    expect(said(text, 'fr')).toBe(
      'Le certificat est pour a.test, b.test, non pour mail.acme.test.'
    )
  })

  it('stays as it is where there are no words for it', () => {
    expect(said('mail.acme.test belongs to billing', 'fr')).toBe(
      'mail.acme.test belongs to billing'
    )
  })
})

describe('faults by field', () => {
  it('are found where either of the two put them, in the reader’s words', () => {
    const url = ['must be an https:// URL']
    const words = 'Ce doit être une adresse qui commence par https://.'
    const ours = answer(422, {
      detail: 'acme_directory_url: must be an https:// URL',
      code: 'control_plane',
      errors: { acme_directory_url: url },
    })
    expect(faults(ours, 'fr')).toEqual({ acme_directory_url: words })
    expect(faults(answer(400, { acme_directory_url: url }), 'fr')).toEqual({
      acme_directory_url: words,
    })
    expect(faults(new Error('Network'), 'fr')).toEqual({})
  })
})
