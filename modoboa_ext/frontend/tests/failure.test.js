// @vitest-environment happy-dom
import { reactive } from 'vue'
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest'
import AuthorityTest from '../src/AuthorityTest.vue'
import HostFailure from '../src/HostFailure.vue'
import HostStatus from '../src/HostStatus.vue'
import PreflightList from '../src/PreflightList.vue'
import { asked, willAnswer } from './fakes/repository'
import { button, mounted, settled } from './mounted'

const NAME = 'mail.acme.test'
const words = (page) => page.textContent.replace(/\s+/g, ' ').trim()

const WAITING = {
  step: 'push',
  reason: 'control_plane_waiting',
  actor: 'nobody',
  detail: null,
  hint: 'English.',
}
const REFUSED = {
  ...WAITING,
  reason: 'control_plane_refused',
  actor: 'operator',
}

describe('a failure', () => {
  const told = async (props, language = 'en') =>
    words(await mounted(HostFailure, { hostname: NAME, ...props }, language))

  it('that the control plane does not know of says whom it waits for', async () => {
    const text = await told({ error: WAITING, failed: false })
    expect(text).toContain('The control plane has not confirmed it yet.')
    expect(text).toContain('It is told again every minute.')
    expect(text).not.toMatch(/not tried again|could not be done|English/)
  })

  it('that the control plane refuses is told in French as well', async () => {
    const detail = `hostname is reserved: ${NAME}`
    const text = await told({ error: { ...REFUSED, detail } }, 'fr')
    expect(text).toContain('Le plan de contrôle le refuse.')
    expect(text).toContain(detail)
    expect(text).toContain('Réessayer maintenant')
    expect(text).not.toContain('English')
  })

  it('to renew says until when the present certificate is served', async () => {
    const text = await told({
      error: { step: 'order', reason: 'dns_nxdomain' },
      failed: false,
      servedUntil: '2026-12-24T12:00:00Z',
    })
    expect(text).toContain('The renewal has failed so far.')
    expect(text).toContain('served until Dec 24, 2026.')
    expect(text).not.toContain('Try again now')
  })

  it.each([
    [
      'ready',
      { step: 'order', reason: 'dns_nxdomain' },
      'Readyrenewal fails so far',
    ],
    ['ready', { ...WAITING }, 'Ready'],
    ['ready', null, 'Ready'],
  ])(
    'to renew shows in the row of a host that is %s',
    async (status, error, row) => {
      const host = {
        name: NAME,
        enabled: true,
        provisioning_status: status,
        error,
      }
      expect(words(await mounted(HostStatus, { host }))).toBe(row)
    }
  )

  it('of an enabled host shows in its row what it waits for', async () => {
    const host = {
      name: NAME,
      enabled: true,
      provisioning_status: 'pending',
      step: 'served',
      error: WAITING,
    }
    expect(words(await mounted(HostStatus, { host }))).toContain(
      'waiting for the control plane'
    )
  })
})

describe('the time of the next try', () => {
  beforeEach(() =>
    vi.useFakeTimers({ now: Date.parse('2026-11-20T12:00:00Z') })
  )
  afterEach(() => vi.useRealTimers())

  it('comes nearer while one looks, and is never told as past', async () => {
    const error = {
      reason: 'dns_nxdomain',
      next_attempt_at: '2026-11-20T12:01:00Z',
    }
    const page = await mounted(HostFailure, { error, hostname: NAME })
    expect(words(page)).toContain('by itself in 1 minute')
    vi.advanceTimersByTime(30_000)
    await settled()
    expect(words(page)).toContain('by itself in 30 seconds')
    vi.advanceTimersByTime(40_000)
    await settled()
    expect(words(page)).toContain('It is tried again by itself any moment now.')
    page.leave()
  })
})

describe('the checks of a host', () => {
  const check = {
    check: 'a',
    verdict: 'fail',
    reason: 'dns_points_elsewhere',
    actor: 'tenant',
    evidence: `${NAME} resolves to 192.0.2.9`,
    fix: `Change the A and AAAA records of ${NAME} to 203.0.113.1.`,
    record: `${NAME}. 300 IN A 203.0.113.1`,
  }
  const props = { pk: 7, hostname: NAME, status: 'failed' }

  it('are told in French: what is wrong, what to do, and the record to set', async () => {
    willAnswer({ data: { items: [check] } })
    const page = await mounted(PreflightList, props, 'fr')
    button(page, 'Vérifier maintenant').click()
    await settled()
    const text = words(page)
    expect(text).toContain('Aucune adresse de ce nom d’hôte n’est la nôtre.')
    expect(text).toContain(`Changez les enregistrements A et AAAA de ${NAME}`)
    expect(text).toContain(check.record)
    expect(text).not.toContain(check.fix)
    expect(page.querySelector('.evidence').textContent.trim()).toBe(
      check.evidence
    )
  })

  it('are told in English with the hint that the control plane has filled in', async () => {
    willAnswer({ data: { items: [check] } })
    const page = await mounted(PreflightList, props)
    button(page, 'Check now').click()
    await settled()
    expect(words(page)).toContain(check.fix)
  })

  it('stay while the host stands still, and go when it moves on', async () => {
    willAnswer({ data: { items: [check] } })
    const moving = reactive({ ...props })
    const page = await mounted(PreflightList, moving)
    button(page, 'Check now').click()
    await settled()
    moving.revision = 8
    await settled()
    expect(page.querySelectorAll('[data-verdict]')).toHaveLength(1)
    moving.status = 'pending'
    await settled()
    expect(page.querySelectorAll('[data-verdict]')).toHaveLength(0)
  })
})

describe('the test of an authority', () => {
  const URL = 'https://ca.example/directory'
  const items = [
    { check: 'directory', verdict: 'pass', evidence: URL },
    { check: 'account', verdict: 'pass', evidence: '' },
    { check: 'terms', verdict: 'pass', evidence: 'https://ca.example/terms' },
  ]

  it('tells directory, account and terms', async () => {
    willAnswer({ data: { items } })
    const page = await mounted(AuthorityTest, { url: URL })
    button(page, 'Test the authority').click()
    await settled()
    expect(asked[0].rest[0]).toEqual({ acme_directory_url: URL })
    expect(page.querySelectorAll('[data-verdict=pass]')).toHaveLength(3)
    expect(words(page)).toContain('it is made with the first order')
    expect(page.querySelector('a').href).toBe('https://ca.example/terms')
  })

  it('says in French why not, and follows no address that is none', async () => {
    const failed = [
      {
        check: 'directory',
        verdict: 'fail',
        reason: 'ca_untrusted',
        evidence: 'x',
      },
      { check: 'terms', verdict: 'pass', evidence: 'javascript:alert(1)' },
    ]
    willAnswer({ data: { items: failed } })
    const page = await mounted(AuthorityTest, { url: URL }, 'fr')
    button(page, 'Tester l’autorité').click()
    await settled()
    expect(words(page)).toContain('n’est pas reconnu ici')
    expect(page.querySelector('a')).toBeNull()
  })

  it('says nothing of another address than the one it was asked for', async () => {
    let late
    willAnswer({ data: { items } }, new Promise((resolve) => (late = resolve)))
    const props = reactive({ url: URL })
    const page = await mounted(AuthorityTest, props)
    const verdicts = () => page.querySelectorAll('[data-verdict]').length
    button(page, 'Test the authority').click()
    await settled()
    expect(verdicts()).toBe(3)
    props.url = 'https://other.example/directory'
    await settled()
    expect(verdicts()).toBe(0)
    button(page, 'Test the authority').click()
    props.url = 'https://third.example/directory'
    await settled()
    late({ data: { items } })
    await settled()
    expect(verdicts()).toBe(0)
  })
})
