// A component in a page, in a language, with the host's Vuetify left out.
import { createApp, nextTick } from 'vue'
import { createGettext } from 'vue3-gettext'

export async function mounted(component, props = {}, language = 'en') {
  const page = document.createElement('div')
  document.body.append(page)
  const app = createApp(component, props)
  app.use(
    createGettext({
      availableLanguages: { en: 'English', fr: 'Français' },
      defaultLanguage: language,
      translations: {},
      silent: true,
    })
  )
  app.config.compilerOptions.isCustomElement = (tag) => tag.startsWith('v-')
  app.config.warnHandler = (warning) => {
    if (!warning.includes('Failed to resolve component: v-'))
      throw new Error(warning)
  }
  app.mount(page)
  await nextTick()
  return page
}
