// Where the keyboard was before a dialog opened, it is again after it has closed.
import { nextTick, onBeforeUnmount } from 'vue'

export function useFocusReturn(before = document.activeElement) {
  onBeforeUnmount(() => nextTick(() => before?.isConnected && before.focus()))
}
