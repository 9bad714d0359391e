// What statuses, steps, actors and verdicts are called, and how they look.
export const STATUS = {
  pending: { color: 'info', icon: 'mdi-progress-clock', text: 'Pending' },
  ready: { color: 'success', icon: 'mdi-check-circle', text: 'Ready' },
  failed: { color: 'error', icon: 'mdi-alert-circle', text: 'Failed' },
  disabled: { color: undefined, icon: 'mdi-pause-circle', text: 'Disabled' },
}

// What the list can be narrowed to: statuses as the chips say them, and a state of the certificate.
export const FILTERS = [
  ...Object.entries(STATUS).map(([value, { text }]) => ({ value, text })),
  { value: 'expiring', text: 'Certificate ends soon' },
]

export const STEPS = {
  push: 'waiting for the control plane',
  bootstrap: 'preparing',
  issue: 'waiting for the certificate authority',
  publish: 'publishing to the edges',
  served: 'waiting until every edge serves it',
}

export const ACTORS = {
  tenant: 'the tenant (their DNS)',
  operator: 'you, the operator',
  ca: 'the certificate authority',
  nobody: 'nobody: it is tried again by itself',
}

// Why a host is not confirmed: what it means, and what to do.
export const PUSH = {
  control_plane_waiting: [
    'The control plane has not confirmed it yet.',
    'Nothing to do, unless it stays so: then see whether the control plane runs.',
  ],
  control_plane_refused: [
    'The control plane refuses it.',
    'Resolve what it names; then try again.',
  ],
}

export const VERDICTS = {
  pass: { icon: 'mdi-check-circle', color: 'success', text: 'In order' },
  warn: { icon: 'mdi-alert', color: 'warning', text: 'To be looked at' },
  fail: { icon: 'mdi-close-circle', color: 'error', text: 'In the way' },
}

export const CHECKS = {
  a: 'IPv4 address (A record)',
  aaaa: 'IPv6 address (AAAA record)',
  cname: 'Alias (CNAME record)',
  caa: 'Permission for the authority (CAA record)',
  port80: 'Port 80 reaches this edge',
}

export const AUTHORITY_CHECKS = {
  directory: 'Directory',
  account: 'Account',
  terms: 'Terms of service',
}

export const DONE = {
  retry: '%{ name } is tried again',
  renew: 'A new certificate for %{ name } is on its way',
  backToAcme: '%{ name } gets its certificate from the authority again',
  enable: '%{ name } is enabled',
  disable: '%{ name } is disabled',
  remove: '%{ name } is deleted',
}

export const SOURCES = {
  acme: 'fetched by itself',
  uploaded: 'uploaded by you',
}

// Kinds of events, as the control plane's journal names them.
export const EVENTS = {
  created: 'Created',
  updated: 'Changed',
  deleted: 'Deleted',
  retried: 'Tried again by hand',
  waiting: 'Waiting',
  failed: 'Failed',
  ready: 'Served by every edge',
  certificate_issued: 'Certificate issued',
  certificate_renewed: 'Certificate renewed',
  certificate_uploaded: 'Own certificate uploaded',
  certificate_given_up: 'Own certificate given up',
  certificate_expiring: 'The uploaded certificate nears its end',
  certificate_revoked: 'Certificate revoked',
  renewal_requested: 'Renewal asked for by hand',
  renewal_failed: 'Renewal failed, the present certificate stays',
  renewal_moved: 'The authority suggests another time of renewal',
  theme_changed: 'Theme changed',
  logo_changed: 'Logo changed',
}
