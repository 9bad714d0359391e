// @vitest-environment happy-dom
import { reactive } from 'vue'
import { afterEach, describe, expect, it } from 'vitest'
import DomainBlock from '../src/DomainBlock.vue'
import DomainHostname from '../src/DomainHostname.vue'
import { fill } from '../src/fill'
import { hostnameRule, isTop } from '../src/hostname'
import { asked, willAnswer } from './fakes/repository'
import { mounted, settled } from './mounted'

const PRIMARY = 'mail.provider.test'
let page
afterEach(() => page?.leave())

async function typed(hostname, name = 'acme.test') {
  page = await mounted(DomainHostname, {
    modelValue: { name, virtual_host: hostname },
    primary: PRIMARY,
    reserved: ['kept.test'],
  })
  return page.querySelector('[data-part=dns]')?.textContent.trim()
}

describe('what DNS must say of a hostname', () => {
  it('is a CNAME where one may stand', async () => {
    expect(await typed('mail.acme.test')).toContain(
      `mail.acme.test. 300 IN CNAME ${PRIMARY}.`
    )
  })

  it('is never a CNAME at the mail domain itself, which would lose its MX', async () => {
    const words = await typed('acme.test')
    expect(words).toContain(`copy the A and AAAA records of ${PRIMARY}`)
    expect(words).toContain('displace the MX')
    expect(words).not.toContain('IN CNAME')
  })

  it('is not told of a name that no tenant may have', async () => {
    expect(await typed(PRIMARY)).toBeUndefined()
    expect(await typed('kept.test')).toBeUndefined()
    expect(await typed('not a name')).toBeUndefined()
  })

  it.each([
    ['mail.acme.test', 'acme.test', false],
    ['sub.acme.test', 'sub.acme.test', true],
    ['acme.test', 'sub.acme.test', true],
    ['other.test', 'acme.test', true],
    ['xacme.sub.test', 'acme.sub.test', false],
  ])('%s for %s', (hostname, domain, top) => {
    expect(isTop(hostname, domain)).toBe(top)
  })
})

it('a name that nobody may take is refused while one types, as by the API', () => {
  const rule = hostnameRule(fill, PRIMARY, ['kept.test'])
  expect(rule(PRIMARY)).toBe(
    `hostname is reserved: ${PRIMARY} is the primary hostname, choose another`
  )
  expect(rule('kept.test')).toBe('hostname is reserved: kept.test')
  expect(rule('mail.acme.test')).toBe(true)
})

describe('the block beside a domain', () => {
  const host = (pk, fields) => ({
    data: { pk, provisioning_status: 'ready', enabled: true, ...fields },
  })

  it('follows the domain when it is linked, and when it is another one', async () => {
    willAnswer(host(7), host(8))
    const domain = reactive({ pk: 1, virtual_host: null })
    page = await mounted(DomainBlock, reactive({ domain }))
    await settled()
    expect(asked).toEqual([])
    domain.virtual_host = 'mail.acme.test'
    await settled()
    expect(page.querySelector('[data-status]').dataset.status).toBe('ready')
    Object.assign(domain, { pk: 2, virtual_host: 'mail.globex.test' })
    await settled()
    expect(asked.map(({ url }) => url)).toEqual([
      '/virtualhosts/for_domain/1/',
      '/virtualhosts/for_domain/2/',
    ])
  })

  it('says when it shows what was last known', async () => {
    const stale = {
      stale_since: '2026-11-20T12:00:00Z',
      stale_because: 'The control plane takes too long to answer.',
    }
    willAnswer(host(7, stale))
    const domain = { pk: 1, virtual_host: 'mail.acme.test' }
    page = await mounted(DomainBlock, { domain }, 'fr')
    await settled()
    expect(page.textContent).toContain('met trop de temps à répondre')
  })
})
