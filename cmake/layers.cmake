# One static library per second-level folder, and what each may use. The list is the architecture: tests/lint checks the
# #includes against the same lines.

set(P2P_LIBRARIES "" CACHE INTERNAL "")

# p2p_library(folder [USES folder…] [WITH imported-target…] [PROTO file.proto…])
function(p2p_library folder)
  cmake_parse_arguments(A "" "" "USES;WITH;PROTO" ${ARGN})
  file(GLOB sources CONFIGURE_DEPENDS ${CMAKE_SOURCE_DIR}/${folder}/*.c)
  if(NOT sources AND NOT A_PROTO)
    return()
  endif()
  string(REPLACE "/" "_" name ${folder})
  set(generated "")
  foreach(proto ${A_PROTO})
    get_filename_component(base ${proto} NAME_WE)
    set(out ${CMAKE_BINARY_DIR}/generated/${folder})
    file(MAKE_DIRECTORY ${out})
    add_custom_command(
      OUTPUT ${out}/${base}.pb-c.c ${out}/${base}.pb-c.h
      COMMAND protoc-c --c_out=${out} --proto_path=${CMAKE_SOURCE_DIR}/${folder} ${base}.proto
      DEPENDS ${CMAKE_SOURCE_DIR}/${folder}/${base}.proto)
    list(APPEND generated ${out}/${base}.pb-c.c)
    set_source_files_properties(${out}/${base}.pb-c.c PROPERTIES COMPILE_OPTIONS "-w")
  endforeach()
  add_library(${name} STATIC ${sources} ${generated})
  foreach(used ${A_USES})
    string(REPLACE "/" "_" lib ${used})
    if(TARGET ${lib})
      target_link_libraries(${name} PUBLIC ${lib})
    endif()
  endforeach()
  target_link_libraries(${name} PUBLIC ${A_WITH})
  target_include_directories(${name} PUBLIC ${CMAKE_BINARY_DIR}/generated)
  set(P2P_LIBRARIES "${P2P_LIBRARIES};${name}" CACHE INTERNAL "")
endfunction()

# ---- store ----
p2p_library(store/base     WITH PkgConfig::SODIUM Threads::Threads)
p2p_library(store/content  USES store/base WITH PkgConfig::CRYPTO PkgConfig::XXHASH)
p2p_library(store/codec    USES store/base store/content WITH PkgConfig::CBOR)
p2p_library(store/block    USES store/base store/content store/codec WITH PkgConfig::LMDB)
p2p_library(store/unixfs   USES store/base store/content store/codec store/block)
p2p_library(store/tree     USES store/base store/content store/codec store/block store/unixfs WITH PkgConfig::LMDB)
p2p_library(store/repo     USES store/base store/content store/block WITH PkgConfig::SODIUM)

# ---- net: base, content, codec and the block store's interface (store/block headers, no LMDB) ----
file(GLOB protos CONFIGURE_DEPENDS ${CMAKE_SOURCE_DIR}/net/wire/*.proto)
p2p_library(net/wire       USES store/base WITH PkgConfig::PROTOBUFC PROTO ${protos})
p2p_library(net/addr       USES store/base store/content net/wire WITH PkgConfig::SODIUM PkgConfig::CRYPTO)
p2p_library(net/negotiate  USES store/base)
p2p_library(net/secure     USES store/base store/content net/addr net/wire WITH PkgConfig::SODIUM PkgConfig::CRYPTO)
p2p_library(net/mux        USES store/base)
p2p_library(net/conn       USES store/base net/addr net/negotiate net/secure net/mux)
p2p_library(net/proto      USES store/base store/content net/addr net/wire)
p2p_library(net/discover   USES store/base net/addr net/wire)
p2p_library(net/exchange   USES store/base store/content store/codec store/block net/addr net/wire)
p2p_library(net/service    USES store/base net/addr)
p2p_library(net/swarm      USES store/base store/content net/addr net/wire)
p2p_library(net/host       USES store/base store/content store/codec store/block net/addr net/wire net/conn net/proto
                                net/discover net/exchange net/swarm net/service)
p2p_library(net/io         USES store/base WITH PkgConfig::EVENT)
p2p_library(net/transport  USES store/base net/addr net/io WITH PkgConfig::EVENT)
p2p_library(net/engine     USES store/base store/content store/block net/addr net/service net/swarm net/host net/io net/transport)

# ---- fs ----
p2p_library(fs/fuse        USES store/base store/content store/block WITH PkgConfig::FUSE3)
p2p_library(fs/inode       USES store/base store/content store/block store/unixfs store/tree fs/fuse)
p2p_library(fs/node        USES store/base store/content store/block store/unixfs store/tree fs/fuse fs/inode)

# ---- cmd ----
p2p_library(cmd/cli        USES store/base store/content store/codec store/block store/unixfs store/repo WITH PkgConfig::JANSSON PkgConfig::EVENT)
p2p_library(cmd/dns        USES store/base store/content net/wire net/addr WITH PkgConfig::EVENT)
p2p_library(cmd/daemon     USES store/base store/content store/codec store/block store/unixfs store/tree store/repo
                                net/wire net/addr net/service net/engine fs/fuse fs/inode fs/node cmd/cli cmd/dns
                           WITH PkgConfig::JANSSON PkgConfig::EVENT)
