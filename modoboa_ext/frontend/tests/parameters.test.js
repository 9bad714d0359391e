// @vitest-environment happy-dom
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { h } from 'vue'
import Parameters from '../src/Parameters.vue'
import { asked, willAnswer } from './fakes/repository'
import { shown } from './fakes/stores'
import { mounted, settled } from './mounted'

const SETTINGS = {
  acme_enabled: true,
  acme_directory_url: 'https://ca.example/directory',
  acme_email: null,
  acme_profile: null,
  renewal_threshold_days: 30,
  edge_enabled: true,
  preflight_enabled: true,
  hsts_max_age: null,
}
const read = (version, settings = {}) => ({
  data: { ...SETTINGS, ...settings },
  headers: { etag: version },
})
const refusal = (status, data) =>
  Object.assign(new Error(status), { response: { status, data } })

let page
async function open(...replies) {
  willAnswer(...replies)
  page = await mounted(Parameters, {}, 'en', { 'v-text-field': Field })
  await settled()
}
// A text field reduced to what it shows, and to how it is written in.
const write = {}
const Field = {
  inheritAttrs: false,
  props: ['label', 'modelValue'],
  emits: ['update:modelValue'],
  setup(props, { emit }) {
    write[props.label] = (value) => emit('update:modelValue', value)
    return () => h('output', { 'aria-label': props.label }, props.modelValue)
  },
}
const written = (label) =>
  page.querySelector(`output[aria-label="${label}"]`).textContent
async function enter(label, value) {
  write[label](value)
  await settled()
}
async function save() {
  page.querySelector('v-form').dispatchEvent(new Event('submit'))
  await settled()
}
const notice = () => page.querySelector('.notice')?.textContent.trim()

beforeEach(() => (shown.length = 0))
afterEach(() => page.leave())

describe('the settings', () => {
  it('sends only what was changed, with the version that was seen', async () => {
    await open(
      read('"1"'),
      read('"2"', { acme_email: 'a@b.test' }),
      read('"2"')
    )
    await enter('E-mail for the authority', 'a@b.test')
    await save()
    expect(asked[1].rest[0]).toEqual({ acme_email: 'a@b.test' })
    expect(asked[1].rest[1].headers).toEqual({ 'If-Match': '"1"' })
    expect(shown).toEqual([{ msg: 'The settings are saved' }])
    await save()
    expect(asked[2].rest[0]).toEqual({})
    expect(asked[2].rest[1].headers).toEqual({ 'If-Match': '"2"' })
  })

  it('says that somebody else was faster, keeps what is not saved, and saves it on top', async () => {
    await open(
      read('"1"'),
      refusal(412, { detail: 'somebody else' }),
      read('"2"', { acme_profile: 'tlsserver' }),
      read('"3"')
    )
    await enter('E-mail for the authority', 'a@b.test')
    await save()
    expect(shown).toEqual([])
    expect(notice()).toMatch(/Somebody else has changed these settings/)
    expect(written('Certificate profile')).toBe('tlsserver')
    expect(written('E-mail for the authority')).toBe('a@b.test')
    await save()
    expect(asked[3].rest[0]).toEqual({ acme_email: 'a@b.test' })
    expect(asked[3].rest[1].headers).toEqual({ 'If-Match': '"2"' })
    expect(shown).toEqual([{ msg: 'The settings are saved' }])
    expect(notice()).toBeUndefined()
  })

  it('says what failed when what others did cannot be read', async () => {
    await open(
      read('"1"'),
      refusal(412, {}),
      refusal(503, { detail: 'Later.' })
    )
    await save()
    expect(notice()).toBe('Later.')
  })
})
