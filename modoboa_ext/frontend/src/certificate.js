// How long a certificate still lasts and how urgent that is, whatever its lifetime.
const DAY = 86_400_000

export const daysLeft = (until, now = Date.now()) =>
  Math.floor((new Date(until) - now) / DAY)

// Urgent in the last ninth of its life, due in the last third; without its start, 90 days are assumed.
export function urgency(until, from = null, now = Date.now()) {
  const end = new Date(until) - now
  const life = from ? new Date(until) - new Date(from) : 90 * DAY
  if (end <= 0) return 'expired'
  if (end < life / 9) return 'urgent'
  return end < life / 3 ? 'due' : 'fine'
}

export const COLOURS = {
  expired: 'error',
  urgent: 'error',
  due: 'warning',
  fine: 'success',
}

// Whether a host is served while something stands in the way of its next certificate.
export const failsToRenew = ({ provisioning_status: status, error }) =>
  status === 'ready' && Boolean(error) && error.step !== 'push'
