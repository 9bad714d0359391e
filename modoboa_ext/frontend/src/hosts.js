// The list of virtual hosts: asked for by page, kept fresh while something moves, and what one may do to a row.
import { computed, onBeforeUnmount, onMounted, ref, watch } from 'vue'
import { useBusStore } from 'modoboa_host/stores'
import api from './api'
import { usePolling } from './polling'
import { DONE } from './words'

// How long nobody has typed before the list is asked for.
export const PAUSE = 300

const isMoving = (host) =>
  host.enabled && host.provisioning_status === 'pending'

export function useHosts(text) {
  const view = {
    page: ref(1),
    size: ref(25),
    sort: ref([{ key: 'name', order: 'asc' }]),
    search: ref(''),
    status: ref(''),
  }
  const hosts = ref([])
  const total = ref(0)
  const answered = ref(false)
  const stale = ref({})
  const failure = ref('')
  let latest = 0

  // Of several questions under way only the last one's answer counts.
  async function ask() {
    const mine = ++latest
    try {
      const { data } = await api.list(query(view))
      if (mine === latest) take(data)
    } catch (error) {
      if (mine !== latest) return true
      if (error.response?.status !== 404 || view.page.value === 1)
        return refuse(error)
      view.page.value = 1 // there are fewer pages than before
    }
    return hosts.value.some(isMoving)
  }

  function take(data) {
    hosts.value = data.results
    total.value = data.count
    stale.value = { since: data.stale_since, because: data.stale_because }
    failure.value = ''
    answered.value = true
  }

  function refuse(error) {
    failure.value = text.sentence(
      error,
      text.$gettext('The list could not be read.')
    )
    throw error
  }

  const { poke, hurry } = usePolling(ask)
  onMounted(poke)
  watch(() => JSON.stringify(query(view)), poke)
  return {
    ...view,
    typed: debounced(view),
    loading: computed(() => !answered.value && !failure.value),
    hosts,
    total,
    answered,
    stale,
    failure,
    poke,
    ...deeds(hurry, text),
  }
}

// What is typed into the search; it is asked for after a pause, from the first page on. So is a filter.
function debounced({ search, status, page }) {
  const typed = ref('')
  let timer = 0
  watch(typed, (words) => {
    window.clearTimeout(timer)
    timer = window.setTimeout(() => {
      page.value = 1
      search.value = words ?? ''
    }, PAUSE)
  })
  watch(status, () => (page.value = 1), { flush: 'sync' })
  onBeforeUnmount(() => window.clearTimeout(timer))
  return typed
}

export function query({ page, size, sort, search, status }) {
  const [first] = sort.value
  return {
    page: page.value,
    page_size: size.value,
    ...(first && {
      ordering: `${first.order === 'desc' ? '-' : ''}${first.key}`,
    }),
    ...(search.value && { search: search.value }),
    ...(status.value && { status: status.value }),
  }
}

// What may be done to a host; each says what it did, or why it could not, and asks again how things are.
export function deeds(poke, { $gettext, sentence }) {
  const bus = useBusStore()
  const deed = (act, said) => async (host) => {
    try {
      await act(host)
      bus.displayNotification({ msg: $gettext(said(host), host) })
    } catch (error) {
      const msg = sentence(error, $gettext('It could not be done.'))
      bus.displayNotification({ msg, type: 'error' })
    }
    await poke()
  }
  return {
    retry: deed(
      ({ pk }) => api.retry(pk),
      () => DONE.retry
    ),
    renew: deed(
      ({ pk }) => api.renew(pk),
      () => DONE.renew
    ),
    backToAcme: deed(
      ({ pk }) => api.removeCertificate(pk),
      () => DONE.backToAcme
    ),
    toggle: deed(
      ({ pk, enabled }) => api.setState(pk, !enabled),
      ({ enabled }) => (enabled ? DONE.disable : DONE.enable)
    ),
    remove: deed(
      ({ pk }) => api.remove(pk),
      () => DONE.remove
    ),
  }
}
