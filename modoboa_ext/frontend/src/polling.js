// Asks again while something is in motion, slower when refused, not at all while nobody looks.
import { onBeforeUnmount, onMounted } from 'vue'

export const PACE = { moving: 3_000, still: 60_000, ceiling: 120_000 }

// How long after a deed its effect is looked out for; a renewal, for one, leaves the status alone.
const HURRY = 60_000

// The wait after `failures` refusals in a row, in ms; Modoboa lets a list be asked 200 times a minute.
export function wait(moving, failures, retryAfter = 0) {
  const base = moving ? PACE.moving : PACE.still
  const backed = Math.min(base * 2 ** failures, PACE.ceiling)
  return Math.max(backed, retryAfter * 1_000)
}

// ask() answers whether something is still moving; poke() asks now, hurry() also often for a while.
export function usePolling(ask) {
  let timer = 0
  let failures = 0
  let alive = false
  let hurried = 0

  async function poke() {
    window.clearTimeout(timer)
    const [moving, retryAfter] = await attempt()
    if (!alive) return
    window.clearTimeout(timer)
    timer = window.setTimeout(look, wait(moving, failures, retryAfter))
  }

  async function attempt() {
    try {
      const moving = await ask()
      failures = 0
      return [moving || Date.now() < hurried, 0]
    } catch (error) {
      failures += 1
      return [true, Number(error.response?.headers?.['retry-after']) || 0]
    }
  }

  function hurry() {
    hurried = Date.now() + HURRY
    return poke()
  }

  const look = () => (document.hidden ? undefined : poke())

  onMounted(() => {
    alive = true
    document.addEventListener('visibilitychange', look)
  })
  onBeforeUnmount(() => {
    alive = false
    window.clearTimeout(timer)
    document.removeEventListener('visibilitychange', look)
  })
  return { poke, hurry }
}
