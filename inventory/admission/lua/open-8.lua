-- Replaces the gate by the staged one and opens it. O(1). May run twice.
-- KEYS  1 meta  2 stock  3 held  4 buyers  5 staged held  6 staged buyers  7 queued  8 admitted
-- ARGV  1 fencing token  2 stock  3 holds staged  4 buyers staged  5.. field, value pairs of meta
-- Returns 0 DONE, 3 FENCED if a later holder of the lock was here, the rebuild was finished, or the staged data is gone
if redis.call('HGET', KEYS[1], 'rebuilding') ~= ARGV[1] then return 3 end
if redis.call('HLEN', KEYS[5]) ~= tonumber(ARGV[3]) or redis.call('HLEN', KEYS[6]) ~= tonumber(ARGV[4]) then return 3 end
for i = 3, 4 do
  redis.call('UNLINK', KEYS[i]) -- frees large hashes in the background
  if redis.call('EXISTS', KEYS[i + 2]) == 1 then
    redis.call('RENAME', KEYS[i + 2], KEYS[i])
    redis.call('PERSIST', KEYS[i])
  end
end
redis.call('SET', KEYS[2], ARGV[2])
if redis.call('EXISTS', KEYS[8]) == 0 then redis.call('UNLINK', KEYS[7]) end -- lost orders are not queued any more
redis.call('HDEL', KEYS[1], 'rebuilding', 'awake_until')
redis.call('HSET', KEYS[1], unpack(ARGV, 5))
return 0
