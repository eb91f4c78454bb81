-- Stores a cache entry, unless it comes from a row that is known to be outdated.
--
-- For applications that read cache-aside and fill what they missed; docs/reading.md has the whole protocol.
-- evictd raises the guard to the row's version at every change, before it deletes the entry: a fill that was
-- under way since before the change finds the guard above its version and stores nothing.
--
--   KEYS[1]  guard: holds the newest version known of the row
--   KEYS[2]  entry; in a cluster in the same slot as the guard: put the same {hash tag} into both
--   ARGV[1]  version of the row that was read, a decimal number without sign and leading zeros
--   ARGV[2]  value of the entry
--   ARGV[3]  how long the entry may live, in ms
--   ARGV[4]  how long the guard lives once it is raised, in ms: longer than the longest fill
--
-- Replies 1 if the entry is stored, 0 if it is outdated, and an error, having written nothing, if an argument
-- or the guard is not what it should be.
--
-- A fill raises a guard that is lower or absent to its version, so that the guard also tells readers which
-- version is current. One that is as high already keeps its time to live.

local version, value, entry_ttl_ms, guard_ttl_ms = ARGV[1], ARGV[2], ARGV[3], ARGV[4]

local function is_decimal(text)
  return text == '0' or string.find(text, '^[1-9][0-9]*$') ~= nil
end

-- Redis takes a time to live of up to 2^63 ms after the epoch: 15 digits are always within.
local function is_ttl(text)
  return text ~= '0' and #text <= 15 and is_decimal(text)
end

-- As text, since Lua's numbers are exact up to 2^53 only.
local function is_below(left, right)
  if #left ~= #right then
    return #left < #right
  end
  return left < right
end

if #KEYS ~= 2 or #ARGV ~= 4 then
  return redis.error_reply('ERR fill takes 2 keys (guard, entry) and 4 arguments (version, value, entry ttl in ms, guard ttl in ms)')
end
if not is_decimal(version) then
  return redis.error_reply('ERR fill: the version must be a decimal number without sign and leading zeros')
end
if not is_ttl(entry_ttl_ms) or not is_ttl(guard_ttl_ms) then
  return redis.error_reply('ERR fill: a ttl must be a positive whole number of milliseconds of at most 15 digits')
end
if KEYS[1] == KEYS[2] then
  return redis.error_reply('ERR fill: guard and entry must be two keys')
end

local guard = redis.call('GET', KEYS[1])
if guard and not is_decimal(guard) then
  return redis.error_reply('ERR fill: the guard does not hold a version; another program writes this key, or it is not the guard')
end
if guard and is_below(version, guard) then
  return 0
end
if not guard or is_below(guard, version) then
  redis.call('SET', KEYS[1], version, 'PX', guard_ttl_ms)
end
redis.call('SET', KEYS[2], value, 'PX', entry_ttl_ms)
return 1
