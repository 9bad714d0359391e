import { beforeEach, describe, expect, it } from 'vitest'
import { ref } from 'vue'
import api from '../src/api'
import { deeds, query } from '../src/hosts'
import { PACE, wait } from '../src/polling'
import { translator } from '../src/text'
import { asked, willAnswer } from './fakes/repository'
import { shown } from './fakes/stores'

const refusal = (status, data) =>
  Object.assign(new Error(status), { response: { status, data } })
const text = translator(() => 'en')
const host = { pk: 7, name: 'mail.acme.test', enabled: true }

beforeEach(() => (shown.length = 0))

describe('the list', () => {
  it('asks for a page in an order, and nothing it need not', () => {
    const view = {
      page: ref(2),
      size: ref(25),
      sort: ref([{ key: 'name', order: 'desc' }]),
      search: ref('acme'),
      status: ref(''),
    }
    expect(query(view)).toEqual({
      page: 2,
      page_size: 25,
      ordering: '-name',
      search: 'acme',
    })
  })

  it('stays far below Modoboa’s 200 questions a minute', () => {
    expect(60_000 / wait(true, 0)).toBeLessThan(200 / 4)
    expect(wait(false, 0)).toBe(PACE.still)
  })

  it('slows down when refused, and obeys Retry-After', () => {
    expect(wait(true, 3)).toBe(PACE.moving * 8)
    expect(wait(true, 50)).toBe(PACE.ceiling)
    expect(wait(true, 1, 40)).toBe(40_000)
  })
})

describe('what is done to a host', () => {
  it('is said, and asked about again', async () => {
    willAnswer({ data: {} })
    let poked = 0
    const { toggle } = deeds(() => (poked += 1), text)
    await toggle(host)
    expect(asked[0]).toMatchObject({
      method: 'post',
      url: '/virtualhosts/7/set_state/',
      rest: [{ enabled: false }, { ignoreErrors: true }],
    })
    expect(shown[0].msg).toBe('mail.acme.test is disabled')
    expect(poked).toBe(1)
  })

  it.each([
    [
      refusal(409, { detail: 'mail.acme.test is held' }),
      'mail.acme.test is held',
    ],
    [refusal(429, { detail: 'Try again in 9 s.' }), 'Try again in 9 s.'],
    [new Error('Network'), 'It could not be done.'],
  ])(
    'is not claimed after %s, but said and asked about',
    async (error, msg) => {
      willAnswer(error)
      let poked = 0
      const { retry } = deeds(() => (poked += 1), text)
      await retry(host)
      expect(shown).toEqual([{ msg, type: 'error' }])
      expect(poked).toBe(1)
    }
  )

  it('a logo travels as a form', async () => {
    willAnswer({ data: {} })
    await api.uploadLogo(7, 'menu', new Blob(['x'], { type: 'image/png' }))
    const [body] = asked[0].rest
    expect(body.get('logo_type')).toBe('menu')
    expect(body.get('image').type).toBe('image/png')
  })
})
