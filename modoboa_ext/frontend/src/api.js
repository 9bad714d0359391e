// Every call this extension makes to Modoboa's REST API.
import repository from 'modoboa_host/repository'

const HOSTS = '/virtualhosts/'
const PARAMETERS = '/parameters/virtualhosts/'

// Our pages say by themselves what failed, in the reader's words; the host's red toast stays away.
const QUIET = { ignoreErrors: true }

// The host's axios sends JSON unless told otherwise.
const FORM = { 'Content-Type': 'multipart/form-data' }

// 412 where somebody else was faster; `version` is the ETag of what was read, none where a proxy keeps it to itself.
const ifStill = (version) => ({
  ...QUIET,
  headers: version ? { 'If-Match': version } : {},
})

const of = (pk, action = '') => `${HOSTS}${pk}/${action ? `${action}/` : ''}`

export default {
  list: (params) => repository.get(HOSTS, { params, ...QUIET }),
  detail: (pk) => repository.get(of(pk), QUIET),
  forDomain: (domain) => repository.get(`${HOSTS}for_domain/${domain}/`, QUIET),
  remove: (pk) => repository.delete(of(pk), QUIET),
  setState: (pk, enabled) =>
    repository.post(of(pk, 'set_state'), { enabled }, QUIET),
  retry: (pk) => repository.post(of(pk, 'retry_provisioning'), {}, QUIET),
  renew: (pk) => repository.post(of(pk, 'renew'), {}, QUIET),
  events: (pk) => repository.get(of(pk, 'events'), QUIET),
  preflight: (pk) => repository.get(of(pk, 'preflight'), QUIET),
  uploadCertificate: (pk, chain, privateKey) =>
    repository.put(
      of(pk, 'certificate'),
      { chain, private_key: privateKey },
      QUIET
    ),
  removeCertificate: (pk) => repository.delete(of(pk, 'certificate'), QUIET),
  theme: (pk) => repository.get(of(pk, 'theme'), QUIET),
  saveTheme: (pk, theme, version) =>
    repository.put(of(pk, 'theme'), theme, ifStill(version)),
  uploadLogo: (pk, type, image) => {
    const body = new FormData()
    body.append('logo_type', type)
    body.append('image', image)
    return repository.post(of(pk, 'theme_logo'), body, {
      headers: FORM,
      ...QUIET,
    })
  },
  removeLogo: (pk, type) =>
    repository.delete(of(pk, 'theme_logo'), {
      params: { logo_type: type },
      ...QUIET,
    }),
  hostTheme: () => repository.get('/theme/', QUIET),
  testAuthority: (url) =>
    repository.post(
      `${PARAMETERS}test_authority/`,
      { acme_directory_url: url },
      QUIET
    ),
  activate: () => repository.post(`${HOSTS}activate/`, {}, QUIET),
  parameters: () => repository.get(PARAMETERS, QUIET),
  saveParameters: (values, version) =>
    repository.put(PARAMETERS, values, ifStill(version)),
}
