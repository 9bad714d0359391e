// @vitest-environment happy-dom
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest'
import { PACE, usePolling } from '../src/polling'
import { mounted, settled } from './mounted'

let answers
let asked
let polling
let page

const looker = {
  setup() {
    polling = usePolling(async () => {
      asked += 1
      const answer = await answers.shift()
      if (answer instanceof Error) throw answer
      return answer ?? false
    })
    return () => null
  },
}

const hide = (hidden) => {
  Object.defineProperty(document, 'hidden', {
    value: hidden,
    configurable: true,
  })
  document.dispatchEvent(new Event('visibilitychange'))
}

async function pass(milliseconds) {
  vi.advanceTimersByTime(milliseconds)
  await settled()
}

beforeEach(async () => {
  vi.useFakeTimers()
  answers = []
  asked = 0
  page = await mounted(looker)
})
afterEach(() => {
  page.leave()
  hide(false)
  vi.useRealTimers()
})

describe('asking again', () => {
  it('is quick while something moves, and slow when it stands still', async () => {
    answers = [true, false]
    await polling.poke()
    await pass(PACE.moving)
    expect(asked).toBe(2)
    await pass(PACE.moving)
    expect(asked).toBe(2)
    await pass(PACE.still)
    expect(asked).toBe(3)
  })

  it('is quick for a while after a deed, although nothing moves', async () => {
    await polling.hurry()
    await pass(PACE.moving)
    expect(asked).toBe(2)
    await pass(60_000)
    const then = asked
    await pass(PACE.moving)
    expect(asked).toBe(then)
  })

  it('ends when the page is left, also with a question under way', async () => {
    let answer
    answers = [new Promise((resolve) => (answer = resolve))]
    const poked = polling.poke()
    page.leave()
    answer(true)
    await poked
    await pass(PACE.ceiling)
    expect(asked).toBe(1)
  })

  it('rests while nobody looks, and begins again at once when somebody does', async () => {
    answers = [true]
    await polling.poke()
    hide(true)
    await pass(PACE.ceiling)
    expect(asked).toBe(1)
    hide(false)
    await settled()
    expect(asked).toBe(2)
  })

  it('goes on once, however many questions overlap', async () => {
    let late
    answers = [new Promise((resolve) => (late = resolve)), true]
    const first = polling.poke()
    await polling.poke()
    late(true)
    await first
    expect(asked).toBe(2)
    await pass(PACE.moving)
    expect(asked).toBe(3)
  })

  it('waits as long as it is told to', async () => {
    const refusal = Object.assign(new Error('429'), {
      response: { status: 429, headers: { 'retry-after': '90' } },
    })
    answers = [refusal]
    await polling.poke()
    await pass(89_000)
    expect(asked).toBe(1)
    await pass(1_000)
    expect(asked).toBe(2)
  })
})
