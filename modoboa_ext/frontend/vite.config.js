import { fileURLToPath } from 'node:url'
import { federation } from '@module-federation/vite'
import vue from '@vitejs/plugin-vue'
import { defineConfig } from 'vite'

// (1) import: false = the host's copy or nothing. A bundled copy with a higher version would win the
//     negotiation and replace the host's Vue under its running application.
const fromHost = (requiredVersion) => ({
  singleton: true,
  requiredVersion,
  import: false,
})

export default defineConfig({
  // (2) Assets are found beside remoteEntry.js, wherever STATIC_URL is.
  base: './',
  plugins: [
    vue(),
    federation({
      name: 'modoboa_ext',
      filename: 'remoteEntry.js',
      dts: false,
      exposes: {
        './VirtualHosts': './src/VirtualHosts.vue',
        './ThemeEditor': './src/ThemeEditor.vue',
        './Parameters': './src/Parameters.vue',
        './Activation': './src/Activation.vue',
        './DomainHostname': './src/DomainHostname.vue',
        './DomainBlock': './src/DomainBlock.vue',
      },
      remotes: {
        modoboa_host: {
          type: 'module',
          name: 'modoboa_host',
          entry: '/remoteEntry.js',
        },
      },
      shared: {
        vue: fromHost('^3.4.0'),
        'vue-router': fromHost('^4.0.0'),
        'vue3-gettext': fromHost('^4.0.0-beta.1'),
      },
    }),
  ],
  build: {
    outDir: fileURLToPath(new URL('../static/modoboa_ext', import.meta.url)),
    emptyOutDir: true,
    target: 'esnext',
    modulePreload: false,
    // (3) cssCodeSplit stays on (Vite's default): each exposed module then loads its own style sheet.
    // (4) A remote has no page of its own; the bundler wants an input all the same.
    rollupOptions: { input: 'src/empty.js' },
  },
})
