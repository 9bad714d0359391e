// @vitest-environment happy-dom
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest'
import { PAUSE, useHosts } from '../src/hosts'
import NoHosts from '../src/NoHosts.vue'
import { translator } from '../src/text'
import { asked, willAnswer } from './fakes/repository'
import { mounted, settled } from './mounted'

const names = (...given) => ({
  data: {
    results: given.map((name, pk) => ({ pk, name, enabled: true })),
    count: given.length,
    stale_since: null,
    stale_because: null,
  },
})
const refusal = (status, data) =>
  Object.assign(new Error(status), { response: { status, data } })

let list
let page
const shown = () => list.hosts.value.map(({ name }) => name)
const questions = () => asked.map(({ rest: [{ params }] }) => params)

async function open(...replies) {
  willAnswer(...replies)
  page = await mounted({
    setup() {
      list = useHosts(translator(() => 'en'))
      return () => null
    },
  })
  await settled()
}

async function pass(milliseconds) {
  vi.advanceTimersByTime(milliseconds)
  await settled()
}

beforeEach(() => vi.useFakeTimers())
afterEach(() => {
  page.leave()
  vi.useRealTimers()
})

describe('the list of virtual hosts', () => {
  it('asks once when it is opened', async () => {
    await open(names('a.test'))
    expect(questions()).toEqual([{ page: 1, page_size: 25, ordering: 'name' }])
    expect(shown()).toEqual(['a.test'])
  })

  it('asks once for a whole word, and from the first page on', async () => {
    await open(names('a.test'), names('b.test'), names('c.test'))
    list.page.value = 3
    await settled()
    for (const typed of ['g', 'gl', 'glo']) {
      list.typed.value = typed
      await pass(PAUSE - 100)
    }
    expect(asked).toHaveLength(2)
    await pass(PAUSE)
    expect(questions()[2]).toMatchObject({ page: 1, search: 'glo' })
    expect(asked).toHaveLength(3)
  })

  it('asks once for a filter, an order or a page', async () => {
    await open()
    list.page.value = 2
    await settled()
    list.status.value = 'expiring'
    await settled()
    list.sort.value = [{ key: 'certificate_valid_until', order: 'desc' }]
    await settled()
    expect(questions().slice(1)).toEqual([
      { page: 2, page_size: 25, ordering: 'name' },
      { page: 1, page_size: 25, ordering: 'name', status: 'expiring' },
      {
        page: 1,
        page_size: 25,
        ordering: '-certificate_valid_until',
        status: 'expiring',
      },
    ])
  })

  it('shows the answer to the last question, whichever comes last', async () => {
    let late
    await open(
      names('a.test'),
      new Promise((resolve) => (late = resolve)),
      names('ready.test')
    )
    list.status.value = 'failed'
    await settled()
    list.status.value = 'ready'
    await settled()
    late(names('failed.test'))
    await settled()
    expect(shown()).toEqual(['ready.test'])
  })

  it('goes to the first page when there are fewer than before', async () => {
    await open(
      names('a.test'),
      refusal(404, { detail: 'Invalid page.' }),
      names('b.test')
    )
    list.page.value = 9
    await settled()
    expect(list.page.value).toBe(1)
    expect(shown()).toEqual(['b.test'])
    expect(list.failure.value).toBe('')
  })

  it('does not say that there is none before it knows', async () => {
    await open(refusal(503, { detail: 'Busy.' }), names())
    expect(list.failure.value).toBe('Busy.')
    expect(list.answered.value).toBe(false)
    await list.poke()
    expect(list.answered.value).toBe(true)
    expect(list.failure.value).toBe('')
  })

  it('says since when and why it is out of date', async () => {
    const { data } = names('a.test')
    const stale = {
      stale_since: '2026-11-20T12:00:00Z',
      stale_because: 'Away.',
    }
    await open({ data: { ...data, ...stale } })
    expect(list.stale.value).toEqual({
      since: '2026-11-20T12:00:00Z',
      because: 'Away.',
    })
  })
})

describe('where there is no virtual host', () => {
  it.each([
    [false, 'en', /A virtual host comes to be when a hostname is typed/],
    [true, 'en', /^No virtual host matches\.$/],
    [false, 'fr', /Un hôte virtuel naît quand on saisit un nom d’hôte/],
  ])(
    '(filtered: %s, %s) it says how one comes to be',
    async (filtered, language, words) => {
      page = await mounted(NoHosts, { filtered }, language)
      expect(page.textContent.trim()).toMatch(words)
    }
  )
})
