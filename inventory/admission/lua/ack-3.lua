-- Removes orders that PostgreSQL has recorded. One round trip, O(orders). May run twice.
-- KEYS  1 meta  2 admitted  3 queued
-- ARGV  triples of entry id, customer, order id (customer '' for an entry that could not be read)
-- Returns 1 if unclaimed orders wait and the caller must wake the dispatcher; 0 if none wait or a wake-up for the next batch
-- is already queued.
for i = 1, #ARGV, 3 do
  redis.call('XACK', KEYS[2], 'ledger', ARGV[i])
  redis.call('XDEL', KEYS[2], ARGV[i])
  if ARGV[i + 1] ~= '' then unqueue(KEYS[3], ARGV[i + 1], ARGV[i + 2]) end
end
local pending = redis.pcall('XPENDING', KEYS[2], 'ledger')
if pending.err or redis.call('XLEN', KEYS[2]) <= pending[1] then return 0 end
local time = redis.call('TIME')
local now = time[1] * 1000000 + time[2]
local joining = tonumber(redis.call('HGET', KEYS[1], 'joining_until') or '0')
if joining > now and joining <= now + 1000000 then return 0 end -- a time further away means that the clock was set back
redis.call('HSET', KEYS[1], 'awake_until', string.format('%.0f', now + 1000000))
return 1
