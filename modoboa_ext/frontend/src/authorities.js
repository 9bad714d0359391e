// The certificate authorities offered by name, and what to know before choosing one.
export const DIRECTORIES = {
  production: 'https://acme-v02.api.letsencrypt.org/directory',
  staging: 'https://acme-staging-v02.api.letsencrypt.org/directory',
}

export const nameOf = (url) =>
  Object.keys(DIRECTORIES).find((name) => DIRECTORIES[name] === url) ?? 'other'

export const WARNINGS = {
  staging:
    'Browsers do not trust these certificates: visitors see a warning. Limits are generous, so this is the place to try things out.',
  production:
    'Limits apply: 5 failed checks of a hostname an hour, 50 certificates of a registered domain a week, 300 orders in 3 hours. Try out with staging first.',
}
