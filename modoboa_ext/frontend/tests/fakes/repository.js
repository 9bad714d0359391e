// Modoboa's axios instance as tests need it: it remembers what was asked and answers what it was told, late if
// that is a promise.
export const asked = []
let answers = []

export function willAnswer(...replies) {
  asked.length = 0
  answers = replies
}

const ask =
  (method) =>
  async (url, ...rest) => {
    asked.push({ method, url, rest })
    const reply = (await answers.shift()) ?? { data: {} }
    if (reply instanceof Error) throw reply
    return { headers: {}, ...reply }
  }

export default {
  get: ask('get'),
  post: ask('post'),
  put: ask('put'),
  delete: ask('delete'),
}
