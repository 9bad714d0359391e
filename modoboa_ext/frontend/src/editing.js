// A form over what others may change at the same time.

const blank = (value) => (value === '' ? null : (value ?? null))

// What a PUT must carry: what differs from what was read, a blank one as null.
export const changes = (saved, edited) =>
  Object.fromEntries(
    Object.entries(edited)
      .map(([name, value]) => [name, blank(value)])
      .filter(([name, value]) => value !== blank(saved[name]))
  )

// Whether somebody else was faster: the change was made to what is no longer there.
export const wasOvertaken = (error) => error.response?.status === 412
