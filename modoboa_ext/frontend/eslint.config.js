import vue from 'eslint-plugin-vue'
import prettier from 'eslint-config-prettier'

const browser = {
  AbortController: 'readonly',
  Blob: 'readonly',
  console: 'readonly',
  document: 'readonly',
  Event: 'readonly',
  File: 'readonly',
  FileReader: 'readonly',
  FormData: 'readonly',
  Image: 'readonly',
  navigator: 'readonly',
  URL: 'readonly',
  window: 'readonly',
}

export default [
  ...vue.configs['flat/recommended'],
  prettier,
  {
    files: ['**/*.{js,mjs,vue}'],
    languageOptions: { globals: { ...browser, process: 'readonly' } },
    rules: {
      'no-undef': 'error',
      'no-unused-vars': 'error',
      'prefer-const': 'error',
      // Names are imported, not looked up among HTML elements.
      'vue/multi-word-component-names': 'off',
      'vue/require-default-prop': 'off',
    },
  },
]
