// The time of now, for what is told relative to it.
import { onBeforeUnmount, onMounted, ref } from 'vue'

const EVERY = 5_000

export function useNow() {
  const now = ref(Date.now())
  let timer = 0
  onMounted(
    () => (timer = window.setInterval(() => (now.value = Date.now()), EVERY))
  )
  onBeforeUnmount(() => window.clearInterval(timer))
  return now
}
