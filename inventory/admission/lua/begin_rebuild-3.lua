-- Stops admission and gate updates during a rebuild. O(1). May run twice.
-- KEYS  1 meta  2 queued  3 admitted
-- ARGV  1 fencing token
-- Returns 0 DONE, 1 GATE_MISSING if the rebuild has begun but there was no gate or no stream, 3 FENCED if a later holder of
--       the lock was here
if tonumber(redis.call('HGET', KEYS[1], 'fence') or '0') > tonumber(ARGV[1]) then return 3 end
redis.call('HSET', KEYS[1], 'fence', ARGV[1], 'rebuilding', ARGV[1])
if redis.call('HEXISTS', KEYS[1], 'state') == 0 then
  redis.call('HSET', KEYS[1], 'state', 'paused', 'opens_at', '0', 'closes_at', '9999999999999999')
end
local has_lost_orders = redis.call('EXISTS', KEYS[3]) == 0 and redis.call('EXISTS', KEYS[2]) == 1
return (has_lost_orders or redis.call('HEXISTS', KEYS[1], 'allocated') == 0) and 1 or 0
