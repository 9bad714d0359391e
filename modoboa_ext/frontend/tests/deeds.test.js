// @vitest-environment happy-dom
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { h } from 'vue'
import Activation from '../src/Activation.vue'
import { useFocusReturn } from '../src/focus'
import HostActions from '../src/HostActions.vue'
import HostDetail from '../src/HostDetail.vue'
import Parameters from '../src/Parameters.vue'
import { willAnswer } from './fakes/repository'
import { shown } from './fakes/stores'
import { button, mounted, settled } from './mounted'

const refusal = (status, data) =>
  Object.assign(new Error(status), { response: { status, data } })

let page
beforeEach(() => (shown.length = 0))
afterEach(() => page.leave())

describe('renewing by hand', () => {
  const offered = async (certificate_source) => {
    const host = { name: 'mail.acme.test', enabled: true, certificate_source }
    page = await mounted(HostActions, { host, anchor: document.body })
    const items = [...page.querySelectorAll('v-list-item')]
    page.leave()
    return items
      .map((item) => item.getAttribute('title'))
      .includes('Renew the certificate now')
  }

  it('is offered for what the authority gave, never for an uploaded certificate', async () => {
    expect(await offered('acme')).toBe(true)
    expect(await offered('uploaded')).toBe(false)
    expect(await offered(null)).toBe(false)
  })

  it('is not offered in the sheet either', async () => {
    const certificate = {
      source: 'uploaded',
      not_before: '2026-11-01T00:00:00Z',
      not_after: '2027-11-01T00:00:00Z',
    }
    const host = {
      pk: 7,
      name: 'a.test',
      enabled: true,
      domains: [],
      certificate,
    }
    willAnswer({ data: { ...host, provisioning_status: 'ready' } })
    page = await mounted(HostDetail, { pk: 7 })
    await settled()
    expect(button(page, 'Renew now')).toBeUndefined()
    expect(button(page, 'Back to the certificate authority')).toBeDefined()
  })
})

it('a registration that fails says why, in the reader’s words', async () => {
  const detail =
    'The licence server refuses this key (status 403): check LICENSE_KEY.'
  willAnswer(refusal(502, { detail }))
  page = await mounted(Activation, {}, 'fr')
  button(page, 'Enregistrer cette installation').click()
  await settled()
  expect(page.querySelector('[role=alert]').textContent).toContain(
    'Le serveur de licences refuse cette clé (statut 403)'
  )
})

describe('the settings', () => {
  const values = {
    acme_enabled: true,
    acme_directory_url:
      'https://acme-staging-v02.api.letsencrypt.org/directory',
    renewal_threshold_days: null,
    hsts_max_age: null,
  }
  const submit = async () => {
    page.querySelector('v-form').dispatchEvent(new Event('submit'))
    await settled()
  }

  it('that could not be saved are not said to be, and each fault stands at its field', async () => {
    const errors = { acme_email: ['Not a valid email address.'] }
    willAnswer(
      { data: values },
      refusal(422, {
        detail: 'acme_email: Not a valid email address.',
        errors,
      }),
      { data: values }
    )
    page = await mounted(Parameters)
    await settled()
    await submit()
    expect(shown).toEqual([])
    const alert = () => page.querySelector('[role=alert]')?.textContent.trim()
    expect(alert()).toBe('The settings could not be saved.')
    expect(page.innerHTML).toContain('Not a valid email address.')
    await submit()
    expect(alert()).toBeUndefined()
    expect(shown).toEqual([{ msg: 'The settings are saved' }])
  })

  it('say what becomes of the certificates of the former authority', async () => {
    const production = 'https://acme-v02.api.letsencrypt.org/directory'
    const moved = { ...values, acme_directory_url: production }
    willAnswer({ data: values }, { data: moved })
    page = await mounted(Parameters)
    await settled()
    expect(page.textContent).not.toContain('edgectl host renew --all')
    await submit()
    expect(page.textContent).toContain('edgectl host renew --all')
  })
})

it('the keyboard is where it was once a dialog has closed', async () => {
  const opener = document.createElement('button')
  document.body.append(opener)
  opener.focus()
  page = await mounted({
    setup() {
      useFocusReturn()
      return () => h('input')
    },
  })
  page.querySelector('input').focus()
  page.leave()
  await settled()
  expect(document.activeElement).toBe(opener)
})
