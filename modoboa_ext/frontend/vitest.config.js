import { fileURLToPath } from 'node:url'
import vue from '@vitejs/plugin-vue'
import { defineConfig } from 'vitest/config'

const fake = (name) =>
  fileURLToPath(new URL(`./tests/fakes/${name}.js`, import.meta.url))

export default defineConfig({
  plugins: [vue()],
  resolve: {
    alias: {
      'modoboa_host/repository': fake('repository'),
      'modoboa_host/stores': fake('stores'),
    },
  },
  test: { include: ['tests/**/*.test.js'] },
})
