// The host's notification bus, remembering what it was asked to show.
export const shown = []
export const useBusStore = () => ({
  displayNotification: (notification) => shown.push(notification),
})
