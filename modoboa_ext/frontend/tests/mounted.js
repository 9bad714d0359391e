// A component in a page, in a language; it follows reactive props. The host's Vuetify is left out, but for what a
// test puts in its place.
import { createApp, h, nextTick } from 'vue'
import { createMemoryHistory, createRouter } from 'vue-router'
import { createGettext } from 'vue3-gettext'

export async function mounted(
  component,
  props = {},
  language = 'en',
  stands = {}
) {
  const page = document.createElement('div')
  document.body.append(page)
  const app = createApp({ render: () => h(component, { ...props }) })
  app.use(
    createGettext({
      availableLanguages: { en: 'English', fr: 'Français' },
      defaultLanguage: language,
      translations: {},
      silent: true,
    })
  )
  app.use(createRouter({ history: createMemoryHistory(), routes: [NOWHERE] }))
  for (const [name, stand] of Object.entries(stands)) app.component(name, stand)
  app.config.warnHandler = (warning) => {
    if (!warning.includes('Failed to resolve component: v-'))
      throw new Error(warning)
  }
  app.mount(page)
  page.leave = () => {
    app.unmount()
    page.remove()
  }
  await nextTick()
  return page
}

const NOWHERE = { name: 'VirtualHosts', path: '/:all(.*)*', component: {} }

// Answers arrive, and the page shows them.
export async function settled() {
  for (let turn = 0; turn < 8; turn += 1) await nextTick()
}

// The button with these words on it.
export const button = (page, words) =>
  [...page.querySelectorAll('v-btn')].find(
    ({ textContent }) => textContent.trim() === words
  )
