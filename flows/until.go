package flows

import "context"

// Until is ctx that also ends when stop is closed, for what has nothing to save, or no more.
func Until(ctx context.Context, stop <-chan struct{}) (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithCancel(ctx)
	select {
	case <-stop: // without waiting for a goroutine's turn
		cancel()
	default:
		go func() {
			select {
			case <-stop:
				cancel()
			case <-ctx.Done():
			}
		}()
	}
	return ctx, cancel
}
