// @vitest-environment happy-dom
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import ThemeEditor from '../src/ThemeEditor.vue'
import { asked, willAnswer } from './fakes/repository'
import { shown } from './fakes/stores'
import { button, mounted, settled } from './mounted'

const SAVED = {
  theme_primary_color: '#b3261e',
  theme_login_logo_url: '/_edge/logos/login.png',
  theme_menu_logo_url: '/_edge/logos/menu.png',
  inherited: { theme_primary_color: '#046BF8' },
}
const LOADED = [
  { data: { name: 'mail.acme.test' } },
  { data: SAVED, headers: { etag: '"1"' } },
  { data: {} },
]
const MENU_ONLY = { theme_menu_logo_url: '/_edge/logos/menu.png' }
const BARE = { data: { ...SAVED, theme_primary_color: null } }
const GONE = { data: '' }
const refusal = (status, data) =>
  Object.assign(new Error(status), { response: { status, data } })

let page
async function open(...replies) {
  willAnswer(...LOADED, ...replies)
  page = await mounted(ThemeEditor)
  await settled()
}
async function click(words, within = page) {
  button(within, words).click()
  await settled()
}
const notice = () => page.querySelector('.notice')?.textContent.trim()
const colour = (name) =>
  page.querySelector(`[data-colour=${name}] v-text-field`)
const logo = (type) => page.querySelector(`[data-logo=${type}]`)
const changes = () => asked.slice(3).map(({ method, url }) => [method, url])

beforeEach(() => (shown.length = 0))
afterEach(() => page.leave())

describe('the theme editor', () => {
  it('takes everything back to the installation’s own, and says that it is saved', async () => {
    await open(BARE, GONE, GONE, ...LOADED)
    await click('Inherit everything')
    await click('Save')
    expect(changes().slice(0, 2)).toEqual([
      ['put', '/virtualhosts/NaN/theme/'],
      ['delete', '/virtualhosts/NaN/theme_logo/'],
    ])
    expect(asked[3].rest[0]).toEqual({ theme_primary_color: null })
    expect(shown).toEqual([{ msg: 'The theme is saved' }])
  })

  it.each([
    [
      refusal(503, { detail: 'The control plane takes too long to answer.' }),
      /takes too long/,
    ],
    [refusal(429, { detail: 'Slow down.' }), /Slow down/],
    [new Error('timeout'), /The theme could not be saved/],
  ])('does not claim to have saved after %s', async (error, words) => {
    await open(error, GONE, GONE)
    await click('Inherit everything')
    await click('Save')
    expect(shown).toEqual([])
    expect(notice()).toMatch(words)
  })

  it('forgets a failure once it is saved, and does not send again what was taken', async () => {
    const later = refusal(503, { detail: 'Later.' })
    await open(BARE, GONE, later, { data: MENU_ONLY }, GONE, ...LOADED)
    await click('Inherit everything')
    await click('Save')
    expect(logo('menu').textContent).toContain('Later.')
    expect(shown).toEqual([])
    expect(asked).toHaveLength(7)
    await click('Save')
    expect(changes()[4]).toEqual(['delete', '/virtualhosts/NaN/theme_logo/'])
    expect(asked[7].rest[0].params).toEqual({ logo_type: 'menu' })
    expect(shown).toEqual([{ msg: 'The theme is saved' }])
    expect(notice()).toBeUndefined()
  })

  it('shows at each colour what the control plane says of it under its own name', async () => {
    const errors = { primary: ['write it as #rrggbb, or null'] }
    await open(
      refusal(422, { detail: 'primary: write it', errors }),
      GONE,
      GONE
    )
    await click('Inherit everything')
    await click('Save')
    expect(colour('theme_primary_color').getAttribute('error-messages')).toBe(
      'A colour is written as #rrggbb.'
    )
    expect(notice()).toBe('The theme could not be saved.')
  })

  it('says that somebody else was faster, keeps what is not saved, and saves it on top', async () => {
    const theirs = { ...SAVED, theme_label_color: '#111111' }
    await open(
      refusal(412, { detail: 'somebody else' }),
      { data: theirs, headers: { etag: '"2"' } },
      BARE,
      GONE,
      GONE,
      ...LOADED
    )
    await click('Inherit everything')
    await click('Save')
    expect(asked[3].rest[1].headers).toEqual({ 'If-Match': '"1"' })
    expect(notice()).toMatch(/Somebody else has changed this theme/)
    expect(colour('theme_label_color').getAttribute('modelvalue')).toBe(
      '#111111'
    )
    expect(colour('theme_primary_color').getAttribute('modelvalue')).toBe('')
    expect(logo('menu').textContent).toContain('Inherited')
    await click('Save')
    expect(asked[5].rest[0]).toEqual({ theme_primary_color: null })
    expect(asked[5].rest[1].headers).toEqual({ 'If-Match': '"2"' })
    expect(shown).toEqual([{ msg: 'The theme is saved' }])
    expect(notice()).toBeUndefined()
  })

  it('does not claim to show what others did when it cannot be read', async () => {
    await open(refusal(412, {}), refusal(503, { detail: 'Later.' }))
    await click('Inherit everything')
    await click('Save')
    expect(notice()).toBe('Later.')
  })

  it('discards changes', async () => {
    await open()
    await click('Inherit everything')
    expect(colour('theme_primary_color').getAttribute('modelvalue')).toBe('')
    await click('Discard changes')
    expect(colour('theme_primary_color').getAttribute('modelvalue')).toBe(
      '#b3261e'
    )
    expect(logo('menu').textContent).toContain('Its own')
  })

  it('takes a logo away, and thinks better of it', async () => {
    await open()
    await click('Remove', logo('menu'))
    expect(logo('menu').textContent).toContain('Inherited')
    await click('Undo', logo('menu'))
    expect(logo('menu').textContent).toContain('Its own')
    expect(changes()).toEqual([])
  })
})
