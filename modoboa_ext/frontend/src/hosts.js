// The list of virtual hosts: asked for by page, kept fresh while something moves, and what one may do to a row.
import { ref } from 'vue'
import { useBusStore } from 'modoboa_host/stores'
import api, { sentence } from './api'
import { usePolling } from './polling'
import { DONE } from './words'

const isMoving = (host) =>
  host.enabled && host.provisioning_status === 'pending'

export function useHosts($gettext) {
  const view = {
    page: ref(1),
    size: ref(25),
    sort: ref([{ key: 'name', order: 'asc' }]),
    search: ref(''),
    status: ref(''),
  }
  const hosts = ref([])
  const total = ref(0)
  const loading = ref(false)
  const staleSince = ref(null)
  const failure = ref('')

  async function ask() {
    loading.value = hosts.value.length === 0
    try {
      const { data } = await api.list(query(view))
      hosts.value = data.results
      total.value = data.count
      staleSince.value = data.stale_since ?? null
      failure.value = ''
      return data.results.some(isMoving)
    } catch (error) {
      failure.value = sentence(error, $gettext('The list could not be read.'))
      throw error
    } finally {
      loading.value = false
    }
  }

  const { poke, hurry } = usePolling(ask)
  return {
    ...view,
    hosts,
    total,
    loading,
    staleSince,
    failure,
    poke,
    ...deeds(hurry, $gettext),
  }
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

// What may be done to a host; each says what it did and asks again how things are.
export function deeds(poke, $gettext) {
  const bus = useBusStore()
  const deed = (act, said) => async (host) => {
    try {
      await act(host)
      bus.displayNotification({ msg: $gettext(said(host), host) })
    } catch {
      // The host has shown the answer's sentence; how things are now follows.
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
